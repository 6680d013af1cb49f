"""Other explanations of a person than the pose shown: hypotheses of the first pass, and left and right swapped.

A first pass knows better where keypoints are than which of its hypotheses shows the person, or which side is left. A
click settles that: where it contradicts the pose shown and another explanation foretold it, the loop tries that one
too, and the better answer counts. The published loop always goes on from the pose shown.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clickpose.annotations import ABSENT, AREA_PER_BOX, Pose
from clickpose.poses import box_overlaps
from clickpose.skeleton import Skeleton

MIN_OVERLAP = 0.4  # IoU of boxes; hypotheses that overlap less show somebody else
MAX_SURPRISE = 4.0  # of one placed keypoint: far off is far off
MIN_GAIN = 1.0  # less surprise than that is not worth a try
MAX_OTHERS = 3  # tries beside the pose shown
# What a unit of surprise counts against the log odds of the loop's own score: little, since annotators click where the
# pose shown is wrong, so that every click surprises it.
BELIEF_IN_CLICKS = 0.2


@dataclass(frozen=True, eq=False)
class Explanation:
    """A pose to go on from, held keypoints in place, and how surprising it makes these: 0 if it foretold them."""

    pose: Pose
    surprise: float


def explain(shown: Pose, placed: Pose, hypotheses: Sequence[Pose], skeleton: Skeleton) -> list[Explanation]:
    """Return what may explain the keypoints that a human placed: first the pose shown, then any others worth a try.

    Args:
        shown: the pose before the clicks.
        placed: the same with clicked keypoints at their clicks.
        hypotheses: everybody the first pass found in the picture.
        skeleton: of K keypoints.
    """
    keypoints_px = _candidates(shown, hypotheses, skeleton)
    surprise = _surprise(keypoints_px, placed, skeleton)
    others = [i for i in surprise.argsort(kind="stable") if surprise[i] < surprise[0] - MIN_GAIN]
    return [
        Explanation(_with_free_keypoints(placed, keypoints_px[i]), float(surprise[i]))
        for i in (0, *others[:MAX_OTHERS])
    ]


def most_plausible(explanations: Sequence[Explanation], answers: Sequence[Pose]) -> Pose:
    """Return, of the loop's answers to each explanation, the one that its score and the clicks together speak for."""

    def plausibility(explanation: Explanation, answer: Pose) -> float:
        return _log_odds(answer.score) - BELIEF_IN_CLICKS * explanation.surprise

    values = [plausibility(*pair) for pair in zip(explanations, answers, strict=True)]
    return answers[values.index(max(values))]


def _candidates(shown: Pose, hypotheses: Sequence[Pose], skeleton: Skeleton) -> NDArray[np.float32]:
    """Keypoints ``(E, K, 2)`` of the pose shown, of hypotheses of the same person, and of all with swapped sides."""
    boxes = np.stack([shown.box_px, *(pose.box_px for pose in hypotheses)])
    same_person = box_overlaps(boxes[:1], boxes[1:])[0] >= MIN_OVERLAP
    others = [pose.keypoints_px for pose, same in zip(hypotheses, same_person, strict=True) if same]
    as_named = np.stack([shown.keypoints_px, *others])
    return np.concatenate((as_named, as_named[:, skeleton.flip_permutation]))


def _surprise(keypoints_px: NDArray[np.float32], placed: Pose, skeleton: Skeleton) -> NDArray[np.float64]:
    """``(E,)`` sums of the negative logarithms of the held keypoints' similarities (see ``oks``), each bounded."""
    told = placed.held & (placed.visibility != ABSENT)
    area = AREA_PER_BOX * max(1.0, float(np.prod(placed.box_px[2:] - placed.box_px[:2])))
    squared_px = ((keypoints_px[:, told] - placed.keypoints_px[told]) ** 2).sum(-1, dtype=np.float64)
    surprises = np.minimum(squared_px / (2 * area * (2 * skeleton.sigma_array[told]) ** 2), MAX_SURPRISE)
    total: NDArray[np.float64] = surprises.sum(-1)
    return total


def _with_free_keypoints(placed: Pose, keypoints_px: NDArray[np.float32]) -> Pose:
    return dataclasses.replace(placed, keypoints_px=np.where(placed.held[:, None], placed.keypoints_px, keypoints_px))


def _log_odds(score: float) -> float:
    bounded = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))
