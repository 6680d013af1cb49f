"""AP after n clicks on each person, and how much of it is due to the click and how much to the model's answer.

Three things can raise AP in a round: the clicked keypoints are right (``by_hand``), the others follow (``answered``
with the scores of the first pass), and persons are ranked by new scores (``answered`` with the scores of the round, as
published). The paper's own gain, in parentheses in its tables, compares with the same round before the model answers
to its last click (``unanswered``); from the second click on, earlier answers are part of both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose, only_keypoints
from clickpose.evaluation.click_style import PUBLISHED_STYLE, ClickStyle
from clickpose.evaluation.coco_metrics import box_ap, keypoint_ap
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.predictors import ManualCorrection, PosePredictor
from clickpose.evaluation.rounds import loop_matches, play_rounds, same_scores, with_scores_of
from clickpose.evaluation.visits import LoadImage, OnProgress, Visit, visit_images
from clickpose.oks import oks
from clickpose.skeleton import Skeleton

Numbers: TypeAlias = dict[str, float]
Found: TypeAlias = dict[int, list[Pose]]
Measure: TypeAlias = Callable[[AnnotationSet, Mapping[int, Sequence[Pose]]], Numbers]


@dataclass(frozen=True)
class Curve:
    """COCO's numbers after 0, 1, ... n rounds, with the persons' scores of each round and of the first pass."""

    rounds: tuple[Numbers, ...]
    first_scores: tuple[Numbers, ...]


@dataclass(frozen=True)
class ClickCurve:
    """The results of 0, 1, ... n clicks on each person.

    Attributes:
        answered: keypoints, as the model answers.
        unanswered: keypoints, where the model has answered to all clicks but the last.
        by_hand: keypoints, where each click moves one keypoint and nothing else; scores never change.
        boxes: as the model answers. By hand, boxes stay as they are.
        mean_oks: over all labelled persons, as the model answers; 0 for a person without a pose.
        mean_oks_by_hand: the same by hand.
    """

    answered: Curve
    unanswered: Curve
    by_hand: tuple[Numbers, ...]
    boxes: Curve
    mean_oks: tuple[float, ...]
    mean_oks_by_hand: tuple[float, ...]


class Recording:
    """The poses of all images after each round, and how similar they are to the truth."""

    def __init__(self, num_rounds: int) -> None:
        """Prepare for a number of rounds, the one without clicks included."""
        self.rounds: list[Found] = [{} for _ in range(num_rounds)]
        self.similarity: list[list[float]] = [[] for _ in range(num_rounds)]

    def add(self, index: int, visit: Visit, poses: list[Pose], skeleton: Skeleton) -> None:
        """Record the poses of one image after round ``index``."""
        self.rounds[index][visit.image.id] = poses
        self.similarity[index] += _similarity(visit, poses, skeleton)

    def absorb(self, other: Recording) -> None:
        """Add what was recorded of other images."""
        for ours, theirs in zip(self.rounds, other.rounds, strict=True):
            ours.update(theirs)
        for mine, more in zip(self.similarity, other.similarity, strict=True):
            mine.extend(more)

    @property
    def mean_oks(self) -> tuple[float, ...]:
        """Mean over persons, by round; NaN if there are none."""
        return tuple(float(np.mean(values)) if values else float("nan") for values in self.similarity)

    def first_scores(self) -> list[Found]:
        """Return the rounds with the scores of the first pass; a round that kept them is the same object."""
        return [self._with_first_scores(found) for found in self.rounds]

    def _with_first_scores(self, found: Found) -> Found:
        first = self.rounds[0]
        if all(same_scores(first[id], poses) for id, poses in found.items()):
            return found
        return {id: with_scores_of(first[id], poses) for id, poses in found.items()}


class CurveMeter:
    """Collects the poses of every round; ``result`` evaluates them."""

    def __init__(self, predictor: PosePredictor, max_clicks: int, style: ClickStyle = PUBLISHED_STYLE) -> None:
        """Prepare for ``max_clicks`` rounds."""
        self.skeleton, self.style, self.num_rounds = predictor.skeleton, style, max_clicks + 1
        self.images: list[AnnotatedImage] = []
        self.answered, self.unanswered, self.by_hand = (Recording(self.num_rounds) for _ in range(3))

    def visit(self, visit: Visit) -> None:
        """Play the rounds on one image, with the model and by hand."""
        if not labelled_persons(visit.image):
            return
        self.images.append(visit.image)
        rounds = play_rounds(visit.predictor, visit, self.style)
        manual = play_rounds(ManualCorrection(visit.predictor), visit, self.style)
        for n, (now, by_hand) in enumerate(islice(zip(rounds, manual, strict=True), self.num_rounds)):
            self.answered.add(n, visit, now.poses, self.skeleton)
            self.unanswered.add(n, visit, now.unanswered, self.skeleton)
            self.by_hand.add(n, visit, by_hand.poses, self.skeleton)

    def absorb(self, other: CurveMeter) -> None:
        """Add the images of another meter behind our own."""
        self.images += other.images
        for name in ("answered", "unanswered", "by_hand"):
            getattr(self, name).absorb(getattr(other, name))

    def result(self, keypoints: Collection[str] | None = None) -> ClickCurve:
        """Evaluate every round over all images, with the labels of some keypoints or of all."""
        truth = AnnotationSet(self.skeleton, tuple(self.images))
        scored = truth if keypoints is None else only_keypoints(truth, keypoints)
        return ClickCurve(
            answered=_curve(keypoint_ap, scored, self.answered),
            unanswered=_curve(keypoint_ap, scored, self.unanswered),
            by_hand=_curve(keypoint_ap, scored, self.by_hand).rounds,
            boxes=_curve(box_ap, truth, self.answered),
            mean_oks=self.answered.mean_oks,
            mean_oks_by_hand=self.by_hand.mean_oks,
        )


def _curve(measure: Measure, annotations: AnnotationSet, recording: Recording) -> Curve:
    rounds = [measure(annotations, found) for found in recording.rounds]
    first_scores = [
        numbers if rescored is found else measure(annotations, rescored)
        for numbers, found, rescored in zip(rounds, recording.rounds, recording.first_scores(), strict=True)
    ]
    return Curve(tuple(rounds), tuple(first_scores))


def ap_at_clicks(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    *,
    max_clicks: int = 4,
    style: ClickStyle = PUBLISHED_STYLE,
    progress: OnProgress | None = None,
) -> ClickCurve:
    """Measure AP@C0 ... AP@Cn, n = ``max_clicks``; see ``visit_images`` for the other arguments and errors."""
    meter = CurveMeter(predictor, max_clicks, style)
    visit_images(predictor, annotations, load_image, [meter], progress)
    return meter.result()


def _similarity(visit: Visit, poses: list[Pose], skeleton: Skeleton) -> list[float]:
    """OKS of each labelled person with the pose that showed it best before the first click; 0 without one."""
    persons = labelled_persons(visit.image)
    similarity = [0.0] * len(persons)
    for index, person in loop_matches(visit, skeleton).items():
        similarity[person] = oks(poses[index].keypoints_px, persons[person], skeleton.sigmas)
    return similarity
