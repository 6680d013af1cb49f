"""Champion and challenger on the same held-back pictures, judged by what an annotator would have to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from clickpose.annotations import AnnotationSet, convert_set
from clickpose.evaluation import evaluate
from clickpose.predictor import Predictor
from pipeline.dataset import PictureFolder
from pipeline.progress import progress

Metrics: TypeAlias = dict[str, float | None]

GOAL = 90  # a person is done at OKS .90
CLICKS_TO_DELETE_PERSON = 1


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pictures, and whether the second is worth the change.

    Attributes:
        champion: what ``evaluate`` says of the current model.
        challenger: what it says of the new one.
        is_better: whether the challenger should replace the champion.
        reason: why, in one sentence.
    """

    champion: Metrics
    challenger: Metrics
    is_better: bool
    reason: str


Compare: TypeAlias = Callable[[Path, Path, AnnotationSet, PictureFolder], Comparison]


def compare_in_clicks(
    champion: Path, challenger: Path, held_back: AnnotationSet, load_image: PictureFolder
) -> Comparison:
    """Evaluate two model folders on held-back pictures; the challenger wins if it costs fewer clicks a person.

    Raises:
        ImageError: a held-back picture cannot be read.
        InvalidModel: a folder cannot be loaded.
    """
    before = _measure(champion, held_back, load_image)
    after = _measure(challenger, held_back, load_image)
    is_better, reason = judge(before, after)
    return Comparison(before, after, is_better, reason)


def judge(champion: Metrics, challenger: Metrics) -> tuple[bool, str]:
    """Decide by clicks a person, deleting what is nobody included; a challenger that moves placed keypoints never wins.

    Returns:
        Whether the challenger is better, and the reason in one sentence.
    """
    before, after = clicks_a_person(champion), clicks_a_person(challenger)
    if before is None or after is None:
        return False, "there is no person on the held-back pictures to compare on"
    drift_px = challenger[f"max_held_drift_px@{GOAL}"] or 0.0
    if drift_px > 0:
        return False, f"the challenger moves keypoints that a human placed, by up to {drift_px:.3g} px"
    verdict = f"{after:.2f} clicks a person against the champion's {before:.2f}"
    return after < before, f"the challenger needs {verdict}"


def clicks_a_person(metrics: Metrics) -> float | None:
    """Clicks until a person's OKS reaches .90, and a click for each pose that shows nobody; None without persons."""
    clicks, num_persons = metrics[f"clicks@{GOAL}"], metrics["num_persons"]
    if clicks is None or not num_persons:
        return None
    return clicks + CLICKS_TO_DELETE_PERSON * (metrics[f"num_spurious@{GOAL}"] or 0) / num_persons


def _measure(folder: Path, held_back: AnnotationSet, load_image: PictureFolder) -> Metrics:
    predictor = Predictor.load(folder)
    annotations = convert_set(held_back, predictor.skeleton)
    with progress(f"measuring {predictor.version}", len(annotations)) as advance:
        return evaluate(
            predictor, annotations, load_image, goals=(GOAL / 100,), progress=lambda done, total: advance(1)
        )
