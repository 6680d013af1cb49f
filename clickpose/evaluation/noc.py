"""The number of clicks (NoC) of the Click-Pose paper: rounds of clicks until an image's own AP reaches a goal.

See ``rounds`` for what a round is. These numbers are never mixed with clicks per person (``click_cost``), which
counts as an annotator does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.evaluation.click_style import GOALS, PUBLISHED_STYLE, ClickStyle
from clickpose.evaluation.coco_metrics import image_ap
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.predictors import ManualCorrection, PosePredictor
from clickpose.evaluation.rounds import NUM_LOOP_PERSONS, play_rounds, same_scores, with_scores_of
from clickpose.evaluation.visits import LoadImage, OnProgress, Visit, visit_images
from clickpose.skeleton import Skeleton


@dataclass(frozen=True)
class NumberOfClicks:
    """Mean rounds per image until its own AP reaches each threshold, at most K; NaN if there was no image.

    Attributes:
        rounds: with the persons' scores of each round, as published.
        first_scores: with every person's score of the first pass.
        by_hand: with a model that ignores clicks.
    """

    rounds: dict[float, float]
    first_scores: dict[float, float]
    by_hand: dict[float, float]


class NocMeter:
    """Counts, image by image, the rounds until its own AP reaches each threshold."""

    def __init__(
        self,
        predictor: PosePredictor,
        thresholds: Sequence[float] = GOALS,
        style: ClickStyle = PUBLISHED_STYLE,
    ) -> None:
        """Prepare for some AP thresholds."""
        self.skeleton, self.thresholds, self.style = predictor.skeleton, thresholds, style
        self.counts: list[dict[float, int]] = []
        self.first_score_counts: list[dict[float, int]] = []
        self.manual_counts: list[dict[float, int]] = []

    def visit(self, visit: Visit) -> None:
        """Play rounds on one image until its AP is above every threshold."""
        if not labelled_persons(visit.image):
            return
        first = visit.candidates[:NUM_LOOP_PERSONS]
        rounds = play_rounds(visit.predictor, visit, self.style)
        manual = play_rounds(ManualCorrection(visit.predictor), visit, self.style)
        needed = self._needed(visit, (now.poses for now in rounds))
        rescored = not all(same_scores(first, now.poses) for now in rounds.computed)
        self.counts.append(needed)
        self.first_score_counts.append(
            self._needed(visit, (with_scores_of(first, now.poses) for now in rounds)) if rescored else needed
        )
        self.manual_counts.append(self._needed(visit, (now.poses for now in manual)))

    def absorb(self, other: NocMeter) -> None:
        """Add the images of another meter behind our own."""
        self.counts += other.counts
        self.first_score_counts += other.first_score_counts
        self.manual_counts += other.manual_counts

    def result(self) -> NumberOfClicks:
        """Average over images."""
        return NumberOfClicks(*map(self._mean, (self.counts, self.first_score_counts, self.manual_counts)))

    def _needed(self, visit: Visit, rounds: Iterable[Sequence[Pose]]) -> dict[float, int]:
        return rounds_needed(visit.image, self.skeleton, rounds, self.thresholds)

    def _mean(self, counts: list[dict[float, int]]) -> dict[float, float]:
        if not counts:
            return dict.fromkeys(self.thresholds, float("nan"))
        return {t: float(np.mean([count[t] for count in counts])) for t in self.thresholds}


def rounds_needed(
    image: AnnotatedImage, skeleton: Skeleton, rounds: Iterable[Sequence[Pose]], thresholds: Sequence[float]
) -> dict[float, int]:
    """Count the rounds until the AP of this image alone reaches each threshold.

    An image that is right at once counts 0, one that is not after K - 1 rounds, or cannot be evaluated, counts K.
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


def number_of_clicks(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    *,
    thresholds: Sequence[float] = GOALS,
    style: ClickStyle = PUBLISHED_STYLE,
    progress: OnProgress | None = None,
) -> NumberOfClicks:
    """Measure the published NoC at some AP thresholds; see ``visit_images`` for the other arguments and errors."""
    meter = NocMeter(predictor, thresholds, style)
    visit_images(predictor, annotations, load_image, [meter], progress)
    return meter.result()
