"""An image is expected to take a click for every keypoint expected wrong, and one for every person expected missing."""

import dataclasses

import numpy as np
import pytest

from clickpose.annotations import ABSENT, Pose
from clickpose.expected_clicks import expected_clicks, share_right
from clickpose.poses import new_pose


def person(*chances: float) -> Pose:
    count = len(chances)
    box_px = np.array([0, 0, 10, 10], np.float32)
    return new_pose(np.zeros((count, 2), np.float32), box_px, 0.9, np.array(chances, np.float32))


def test_an_image_without_doubt_takes_no_click() -> None:
    assert expected_clicks([]) == expected_clicks([person(1.0, 1.0)]) == 0.0


def test_doubts_about_keypoints_and_missed_persons_add_up() -> None:
    assert expected_clicks([person(0.9, 0.5), person(0.75, 1.0)], missed=[0.25, 0.1]) == pytest.approx(1.2)


def test_an_absent_keypoint_takes_no_click() -> None:
    pose = dataclasses.replace(person(0.5, 0.5), visibility=np.array([ABSENT, 2]))
    assert expected_clicks([pose]) == pytest.approx(0.5)


def test_a_surely_empty_image_is_right_and_one_with_a_hidden_person_is_not() -> None:
    assert share_right([], clicks=0.0) == 1.0
    assert share_right([], clicks=0.4) == pytest.approx(0.6)
    assert share_right([], clicks=3.0) == 0.0


def test_the_share_right_is_the_mean_chance_of_what_is_shown() -> None:
    shown = [person(0.9, 0.5), person(0.75, 1.0)]
    assert share_right(shown, expected_clicks(shown)) == pytest.approx(np.mean([0.9, 0.5, 0.75, 1.0]))
