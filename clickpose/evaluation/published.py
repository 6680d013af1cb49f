"""The two measures of the Click-Pose paper, by rounds: AP after n clicks a person, and the number of clicks.

Both follow the published evaluation: the 20 best persons, matched once; each round clicks the keypoint farthest
from the truth on every matched person, even if it is off by very little. Pictures without a labelled person are
left out. Scores are those of the last round; where the first pass ranks persons better, its scores give a second
set of numbers. Two differences remain: clicks are held, and persons nobody clicks are not refined.
These numbers are never mixed with clicks per person (``click_cost``), which counts as an annotator does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, tee

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.evaluation.clicks import EVERY_KEYPOINT, GOALS, PUBLISHED_STYLE, ClickStyle, Rounds
from clickpose.evaluation.coco_metrics import image_ap, keypoint_ap
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.visits import LoadImage, Progress, Visit, visit_images
from clickpose.skeleton import Skeleton

NUM_LOOP_PERSONS = 20  # of the published loop; also as many as COCO counts in a picture


@dataclass(frozen=True)
class ClickCurve:
    """COCO's ten keypoint numbers after 0, 1, ... n rounds of clicks.

    Attributes:
        rounds: with the persons' scores of each round, as published.
        first_scores: with every person's score of the first pass; equal to ``rounds`` if a refine keeps scores.
    """

    rounds: tuple[dict[str, float], ...]
    first_scores: tuple[dict[str, float], ...]


class CurveMeter:
    """Collects the poses of every round; ``result`` evaluates them."""

    def __init__(self, predictor: PosePredictor, max_clicks: int, style: ClickStyle = PUBLISHED_STYLE) -> None:
        """Prepare for ``max_clicks`` rounds."""
        self.predictor, self.style = predictor, style
        self.images: list[AnnotatedImage] = []
        self.rounds: list[dict[int, list[Pose]]] = [{} for _ in range(max_clicks + 1)]

    def visit(self, visit: Visit) -> None:
        """Play the rounds on one picture."""
        if not labelled_persons(visit.image):
            return
        self.images.append(visit.image)
        for found, poses in zip(self.rounds, play_rounds(self.predictor, visit, self.style), strict=False):
            found[visit.image.id] = poses

    def result(self) -> ClickCurve:
        """Evaluate every round over all pictures."""
        annotations = AnnotationSet(self.predictor.skeleton, tuple(self.images))
        return ClickCurve(
            rounds=tuple(keypoint_ap(annotations, found) for found in self.rounds),
            first_scores=tuple(keypoint_ap(annotations, self._with_first_scores(found)) for found in self.rounds),
        )

    def _with_first_scores(self, found: dict[int, list[Pose]]) -> dict[int, list[Pose]]:
        return {id: with_scores_of(self.rounds[0][id], poses) for id, poses in found.items()}


@dataclass(frozen=True)
class NumberOfClicks:
    """Mean rounds a picture until its own AP reaches each threshold, at most K; NaN if there was no picture.

    Attributes:
        rounds: with the persons' scores of each round, as published.
        first_scores: with every person's score of the first pass.
    """

    rounds: dict[float, float]
    first_scores: dict[float, float]


class NocMeter:
    """Counts, picture by picture, the rounds until its own AP reaches each threshold."""

    def __init__(
        self,
        predictor: PosePredictor,
        thresholds: Sequence[float] = GOALS,
        style: ClickStyle = PUBLISHED_STYLE,
    ) -> None:
        """Prepare for some AP thresholds."""
        self.predictor, self.thresholds, self.style = predictor, thresholds, style
        self.counts: list[dict[float, int]] = []
        self.first_score_counts: list[dict[float, int]] = []

    def visit(self, visit: Visit) -> None:
        """Play rounds on one picture until its AP is above every threshold."""
        if not labelled_persons(visit.image):
            return
        image, skeleton = visit.image, self.predictor.skeleton
        rounds, again = tee(play_rounds(self.predictor, visit, self.style))
        first = visit.candidates[:NUM_LOOP_PERSONS]
        rescored = (with_scores_of(first, poses) for poses in again)
        self.counts.append(rounds_needed(image, skeleton, rounds, self.thresholds))
        self.first_score_counts.append(rounds_needed(image, skeleton, rescored, self.thresholds))

    def result(self) -> NumberOfClicks:
        """Average over pictures."""
        return NumberOfClicks(self._mean(self.counts), self._mean(self.first_score_counts))

    def _mean(self, counts: list[dict[float, int]]) -> dict[float, float]:
        if not counts:
            return dict.fromkeys(self.thresholds, float("nan"))
        return {t: float(np.mean([count[t] for count in counts])) for t in self.thresholds}


def play_rounds(predictor: PosePredictor, visit: Visit, style: ClickStyle) -> Rounds:
    """Yield the 20 best persons of a picture before the first round and after each one, without end."""
    poses = visit.candidates[:NUM_LOOP_PERSONS]
    annotator = style.annotator(visit.image, predictor.skeleton, EVERY_KEYPOINT)
    annotator.match_as_published(poses)
    return style.play(poses, annotator, style.refiner(predictor, visit.encoded))


def with_scores_of(first: Sequence[Pose], poses: Sequence[Pose]) -> list[Pose]:
    """Return the poses with the scores that the same persons have in ``first``."""
    return [replace(pose, score=before.score) for pose, before in zip(poses, first, strict=True)]


def rounds_needed(
    image: AnnotatedImage, skeleton: Skeleton, rounds: Rounds, thresholds: Sequence[float]
) -> dict[float, int]:
    """Count the rounds until the AP of this picture alone reaches each threshold.

    A picture that is right at once counts 0, one that is not after K - 1 rounds, or cannot be evaluated, counts K.
    """
    needed: dict[float, int] = {}
    for count, poses in enumerate(islice(rounds, len(skeleton))):
        ap = image_ap(image, skeleton, poses)
        for threshold in thresholds:
            if ap >= threshold:
                needed.setdefault(threshold, count)
        if len(needed) == len(thresholds):
            break
    return {threshold: needed.get(threshold, len(skeleton)) for threshold in thresholds}


def ap_at_clicks(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    *,
    max_clicks: int = 4,
    style: ClickStyle = PUBLISHED_STYLE,
    progress: Progress | None = None,
) -> ClickCurve:
    """Measure AP@C0 ... AP@Cn, n = ``max_clicks``; see ``visit_images`` for the other arguments and errors."""
    meter = CurveMeter(predictor, max_clicks, style)
    visit_images(predictor, annotations, load_image, [meter], progress)
    return meter.result()


def number_of_clicks(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    *,
    thresholds: Sequence[float] = GOALS,
    style: ClickStyle = PUBLISHED_STYLE,
    progress: Progress | None = None,
) -> NumberOfClicks:
    """Measure the published NoC at some AP thresholds; see ``visit_images`` for the other arguments and errors."""
    meter = NocMeter(predictor, thresholds, style)
    visit_images(predictor, annotations, load_image, [meter], progress)
    return meter.result()
