"""Which person an edit refers to, and what the predictor is called with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clickpose.annotations import ABSENT, OCCLUDED, VISIBLE, Floats, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, gap
from serve.replica.edits import apply_edit, choose_person, shows_no_one

COCO, CROWDPOSE = Skeleton.load("coco17"), Skeleton.load("crowdpose14")
NOSE, WRIST, ELBOW = (COCO.index(name) for name in ("nose", "left_wrist", "left_elbow"))


def person(box_px: tuple[float, float, float, float], **places_px: tuple[float, float]) -> Pose:
    """A person with all keypoints in the middle of the box, except the given ones."""
    keypoints_px: Floats = np.tile(np.array([box_px[:2], box_px[2:]], np.float32).mean(0), (len(COCO), 1))
    for name, xy_px in places_px.items():
        keypoints_px[COCO.index(name)] = xy_px
    ones = np.ones(len(COCO), np.float32)
    return Pose(keypoints_px, np.full(len(COCO), VISIBLE), ones, np.array(box_px, np.float32), 1.0, ones < 0)


def meant(
    poses: list[Pose],
    keypoint: int,
    xy_px: tuple[float, float],
    *,
    visibility: int | None = None,
    present: tuple[int, ...] = (),
) -> int | None:
    return choose_person(poses, KeypointEdit(keypoint, xy_px, visibility), set(present), COCO)


def test_the_person_whose_box_contains_the_click_comes_before_the_nearest_one() -> None:
    around = person((0, 0, 200, 400), nose=(100, 390))
    beside = person((210, 0, 400, 400), nose=(211, 50))
    assert meant([around, beside], NOSE, (195, 50)) == 0
    assert meant([around, beside], NOSE, (215, 50)) == 1


def test_neighbouring_keypoints_decide_whose_keypoint_was_clicked() -> None:
    mistaken = person((0, 0, 200, 400), left_wrist=(20, 300), left_elbow=(120, 100), left_shoulder=(110, 60))
    neighbour = person((0, 0, 200, 400), left_wrist=(160, 170), left_elbow=(40, 300), left_shoulder=(60, 290))
    assert meant([mistaken, neighbour], WRIST, (130, 130)) == 0
    assert meant([mistaken, neighbour], WRIST, (155, 165)) == 1  # a small correction


def test_persons_whose_keypoint_was_placed_come_last_unless_the_click_is_beside_it() -> None:
    settled, unsettled = person((0, 0, 200, 400), nose=(100, 100)), person((0, 0, 200, 400), nose=(100, 300))
    settled.held[NOSE] = True
    assert meant([settled, unsettled], NOSE, (100, 180)) == 1
    assert meant([settled, unsettled], NOSE, (100, 110)) == 0


def test_marking_as_absent_refers_to_the_nearest_keypoint() -> None:
    around, reaching_in = person((0, 0, 200, 400)), person((210, 0, 400, 400), nose=(190, 200))
    assert meant([around, reaching_in], NOSE, (190, 201)) == 0
    assert meant([around, reaching_in], NOSE, (190, 201), visibility=ABSENT) == 1


def test_persons_that_are_certainly_on_the_screen_come_first() -> None:
    twins = [person((0, 0, 200, 400)), person((0, 0, 200, 400))]
    assert meant(twins, NOSE, (100, 100), present=(1,)) == 1
    assert meant(twins, NOSE, (100, 100), present=(0, 1)) == 0


def test_without_persons_a_click_refers_to_none() -> None:
    assert meant([], NOSE, (1, 1)) is None
    assert meant([gap(len(COCO))], NOSE, (1, 1)) is None
    assert meant([gap(len(COCO)), person((0, 0, 9, 9))], NOSE, (1, 1)) == 1


@pytest.mark.parametrize(("was", "said", "becomes"), [(OCCLUDED, None, OCCLUDED), (OCCLUDED, 2, 2), (ABSENT, None, 2)])
def test_an_occluded_keypoint_stays_occluded_unless_the_click_says_otherwise(
    predictor: Any, make_pose: Any, encoded: Any, was: int, said: int | None, becomes: int
) -> None:
    pose = make_pose()
    pose.visibility[1] = was
    after, edited = apply_edit(predictor, encoded, [pose], KeypointEdit(1, (20.0, 20.0), said))
    assert (after[0].visibility[1], edited) == (becomes, 0)


def test_a_keypoint_far_from_everybody_adds_the_person_who_was_missed() -> None:
    shown = person((0, 0, 100, 200))
    assert shows_no_one([shown], KeypointEdit(NOSE, (170, 100)))
    assert not shows_no_one([shown], KeypointEdit(NOSE, (150, 100)))  # an arm may reach out of the box
    assert not shows_no_one([shown], KeypointEdit(NOSE, (170, 100), person=0))  # meant for who is in focus
    assert not shows_no_one([shown], KeypointEdit(NOSE, (170, 100), ABSENT))
    assert not shows_no_one([gap(len(COCO))], KeypointEdit(NOSE, (170, 100)))


def test_the_added_person_is_the_edited_person(predictor: Any, make_pose: Any, encoded: Any) -> None:
    poses, edited = apply_edit(predictor, encoded, [make_pose()], PersonEdit(np.array([5, 5, 50, 50], np.float32)))
    assert (len(poses), edited) == (2, 1)


def test_a_box_that_is_sent_twice_adds_one_person(predictor: Any, encoded: Any) -> None:
    known = [gap(len(COCO)), person((5, 5, 50, 50))]
    assert apply_edit(predictor, encoded, known, PersonEdit(np.array([5, 5, 50, 50], np.float32))) == (known, 1)
    assert len(apply_edit(predictor, encoded, known, PersonEdit(np.array([5, 5, 50, 51], np.float32)))[0]) == 3


def test_a_click_on_an_image_without_persons_changes_nothing(predictor: Any, encoded: Any) -> None:
    assert apply_edit(predictor, encoded, [], KeypointEdit(0, (1.0, 1.0))) == ([], None)
