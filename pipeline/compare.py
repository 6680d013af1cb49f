"""Champion and challenger compared on the same images, by the clicks that an annotator would need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from clickpose.annotations import AnnotationSet, convert_set
from clickpose.evaluation import Simulation, evaluate_all
from clickpose.evaluation.image_costs import ImageCost, ImageMeter
from clickpose.evaluation.metric_names import Metrics
from clickpose.predictor import Predictor
from pipeline.dataset import ImageFolder, fit_records
from pipeline.gate import GateRule, Verdict, all_clicks, judge
from pipeline.progress import progress

GOAL = 90  # a person is finished at an OKS of .90


@dataclass(frozen=True)
class HeldBack:
    """Images that models are compared on; none of them was trained on these.

    Attributes:
        annotations: the images.
        gold: file names of those whose labels are trusted.
    """

    annotations: AnnotationSet
    gold: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ImageClicks:
    """One image of a comparison.

    Attributes:
        file_name: of the image.
        num_persons: labelled persons.
        champion: clicks that all of them together cost with the champion, deleted poses included.
        challenger: the same with the challenger.
    """

    file_name: str
    num_persons: int
    champion: int
    challenger: int


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Attributes:
        champion: metrics of the current model.
        challenger: metrics of the new one.
        verdict: whether the challenger should replace the champion.
        by_image: clicks on each image.
    """

    champion: Metrics
    challenger: Metrics
    verdict: Verdict
    by_image: tuple[ImageClicks, ...] = ()


Compare: TypeAlias = Callable[[Path, Path, HeldBack, ImageFolder, GateRule], Comparison]


@dataclass(frozen=True)
class Measurement:
    """One model's results on the images: all together, and one by one."""

    metrics: Metrics
    costs: list[ImageCost]
    keypoints: tuple[str, ...]


def compare_in_clicks(
    champion: Path, challenger: Path, held_back: HeldBack, load_image: ImageFolder, rule: GateRule
) -> Comparison:
    """Evaluate two model folders on held-back images, and let the rule decide.

    Raises:
        ImageError: no held-back image can be read; one that cannot is left out.
        InvalidModel: a folder cannot be loaded.
    """
    annotations = fit_records(held_back.annotations, load_image, skip_bad=True)
    before = _measure(champion, annotations, load_image)
    after = _measure(challenger, annotations, load_image)
    verdict = judge(before.costs, after.costs, before.keypoints, rule, held_back.gold)
    drift_px = after.metrics[f"max_held_drift_px@{GOAL}"] or 0.0
    if drift_px > 0:
        reason = f"the challenger moves keypoints that a human placed, by up to {drift_px:.3g} px"
        verdict = Verdict(False, reason, verdict.checks)
    pairs = zip(before.costs, after.costs, strict=True)
    by_image = tuple(ImageClicks(a.file_name, a.num_persons, all_clicks(a), all_clicks(b)) for a, b in pairs)
    return Comparison(before.metrics, after.metrics, verdict, by_image)


def _measure(folder: Path, held_back: AnnotationSet, load_image: ImageFolder) -> Measurement:
    predictor = Predictor.load(folder)
    annotations = convert_set(held_back, predictor.skeleton)
    images, simulation = ImageMeter(predictor, GOAL / 100), Simulation(goals=(GOAL / 100,))
    with progress(f"measuring {predictor.version}", len(annotations)) as advance:
        (metrics,) = evaluate_all(
            predictor,
            annotations,
            load_image,
            {"": simulation},
            meters=[images],
            progress=lambda done, total: advance(1),
        ).values()
    return Measurement(metrics, images.costs, predictor.skeleton.keypoints)
