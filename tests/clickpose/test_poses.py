"""Hypotheses of one person speak for each other, and only the best of them is shown."""

import numpy as np
import pytest

from clickpose.annotations import Pose
from clickpose.poses import drop_alike, drop_duplicates, new_pose, score_by_agreement

SIGMAS = np.full(4, 0.05, np.float32)
BOX = (0.0, 0.0, 100.0, 200.0)


def pose(score: float, *, off_px: float = 0.0) -> Pose:
    keypoints_px = np.float32([[20, 20], [80, 20], [20, 180], [80, 180]]) + np.float32(off_px)
    return new_pose(keypoints_px, np.float32(BOX), score)


def agreed(*hypotheses: Pose) -> float:
    (best,) = score_by_agreement(drop_duplicates(hypotheses, 0.7), hypotheses, SIGMAS)
    return best.score


def test_alone_a_hypothesis_keeps_its_score() -> None:
    assert agreed(pose(0.4)) == pytest.approx(0.4)


def test_two_that_agree_are_surer_than_either_and_never_more_than_sure() -> None:
    assert agreed(pose(0.5), pose(0.4)) == pytest.approx(1 - 0.5 * 0.6)
    assert agreed(*[pose(0.9)] * 20) <= 1


def test_one_that_disagrees_says_nothing_and_the_closer_the_more() -> None:
    scores = [agreed(pose(0.5), pose(0.4, off_px=off_px)) for off_px in (0.0, 5.0, 10.0, 500.0)]
    assert scores == sorted(scores, reverse=True) and scores[-1] == pytest.approx(0.5)


def test_without_persons_no_person_is_scored() -> None:
    assert score_by_agreement([], [], SIGMAS) == []


def test_of_poses_that_are_alike_the_first_is_kept() -> None:
    first, near, far = pose(0.5), pose(0.4, off_px=2.0), pose(0.3, off_px=60.0)
    assert drop_alike([first, near, far], SIGMAS) == [first, far]
    assert drop_alike([], SIGMAS) == []


def test_two_persons_in_one_box_are_both_kept() -> None:
    upright = pose(0.5)
    other = new_pose(upright.keypoints_px[::-1].copy(), np.float32(BOX), 0.4)
    assert drop_alike([upright, other], SIGMAS) == [upright, other]
