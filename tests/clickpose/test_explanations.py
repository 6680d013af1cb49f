"""A click that another hypothesis foretold brings that hypothesis back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clickpose.annotations import Click, Floats, Pose
from clickpose.clicks import apply_clicks
from clickpose.explanations import MAX_OTHERS, Explanation, explain, most_plausible
from clickpose.poses import new_pose
from clickpose.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
NOSE, LEFT_WRIST = SKELETON.index("nose"), SKELETON.index("left_wrist")
BOX_PX = np.array([100, 100, 300, 500], np.float32)
SIZE_WH = (640, 640)


def pose(seed: int, box_px: Floats = BOX_PX) -> Pose:
    """A person with keypoints all over the box."""
    places = np.random.default_rng(seed).uniform(0.05, 0.95, (len(SKELETON), 2))
    return new_pose((box_px[:2] + places * (box_px[2:] - box_px[:2])).astype(np.float32), box_px, 0.8)


def click(shown: Pose, keypoint: int, xy_px: Floats, hypotheses: list[Pose], visibility: int = 2) -> list[Explanation]:
    """Place a keypoint and ask what explains it."""
    clicks = [Click(0, keypoint, (float(xy_px[0]), float(xy_px[1])), visibility)]
    (placed,) = apply_clicks([shown], clicks, SKELETON, SIZE_WH)
    return explain(shown, placed, hypotheses, SKELETON)


def test_the_pose_shown_comes_first_with_the_click_in_place() -> None:
    shown = pose(0)
    first, *_ = click(shown, NOSE, pose(1).keypoints_px[NOSE], [shown, pose(1)])
    assert np.array_equal(first.pose.keypoints_px[NOSE], pose(1).keypoints_px[NOSE])
    assert np.array_equal(first.pose.keypoints_px[1:], shown.keypoints_px[1:])
    assert list(np.flatnonzero(first.pose.held)) == [NOSE]


def test_a_click_where_another_hypothesis_has_the_keypoint_brings_all_of_that_hypothesis() -> None:
    shown, other = pose(0), pose(1)
    _, explanation, *_ = click(shown, NOSE, other.keypoints_px[NOSE], [shown, other])
    assert np.array_equal(explanation.pose.keypoints_px, other.keypoints_px)
    assert explanation.surprise == 0


def test_a_click_where_the_other_side_is_swaps_the_sides() -> None:
    shown = pose(0)
    right_wrist = SKELETON.flip_permutation[LEFT_WRIST]
    _, explanation = click(shown, LEFT_WRIST, shown.keypoints_px[right_wrist], [])
    assert np.array_equal(explanation.pose.keypoints_px, shown.keypoints_px[SKELETON.flip_permutation])


@pytest.mark.parametrize("by_px", [1.0, 5.0, 400.0])
def test_a_click_that_nothing_foretold_is_explained_by_the_pose_shown_alone(by_px: float) -> None:
    shown = pose(0)
    there = np.clip(shown.keypoints_px[NOSE] + by_px, 0, 640)
    assert len(click(shown, NOSE, there, [shown, pose(1)])) == 1


def test_somebody_elses_hypothesis_is_no_explanation() -> None:
    shown, neighbour = pose(0), pose(1, BOX_PX + np.array([150, 0, 150, 0], np.float32))
    assert len(click(shown, NOSE, neighbour.keypoints_px[NOSE], [shown, neighbour])) == 1


def test_what_a_human_placed_stays_and_counts() -> None:
    other = pose(1)
    one_held = dataclasses.replace(pose(0), held=np.arange(len(SKELETON)) == LEFT_WRIST)
    one_held.keypoints_px[LEFT_WRIST] = other.keypoints_px[LEFT_WRIST] + 3
    _, explanation, *_ = click(one_held, NOSE, other.keypoints_px[NOSE], [other])
    assert np.array_equal(explanation.pose.keypoints_px[LEFT_WRIST], one_held.keypoints_px[LEFT_WRIST])
    four_held = dataclasses.replace(pose(0), held=np.isin(np.arange(len(SKELETON)), [1, 2, 3, 4]))
    assert len(click(four_held, NOSE, other.keypoints_px[NOSE], [other])) == 1  # four speak against it


def test_an_absent_keypoint_says_nothing_of_places() -> None:
    shown, other = pose(0), pose(1)
    assert len(click(shown, NOSE, other.keypoints_px[NOSE], [other], visibility=0)) == 1


def test_however_many_hypotheses_agree_with_a_click_few_are_tried() -> None:
    shown, others = pose(0), [pose(seed) for seed in range(1, 20)]
    for other in others:
        other.keypoints_px[NOSE] = 300, 480
    assert len(click(shown, NOSE, np.float32([300, 480]), others)) == 1 + MAX_OTHERS


def test_the_answer_that_is_sure_and_foretold_the_click_counts() -> None:
    explanations = [Explanation(pose(0), surprise) for surprise in (4.0, 0.0)]

    def chosen(first_score: float, second_score: float) -> int:
        answers = [dataclasses.replace(pose(0), score=score) for score in (first_score, second_score)]
        return answers.index(most_plausible(explanations, answers))

    assert chosen(0.5, 0.5) == 1
    assert chosen(0.5, 0.35) == 1
    assert chosen(0.9, 0.2) == 0
