"""Translate an edit on the annotator's screen into calls of the predictor."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clickpose.annotations import ABSENT, OCCLUDED, VISIBLE, Click, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, is_gap

if TYPE_CHECKING:
    from clickpose.predictor import EncodedImage, Predictor

SAME_BOX_PX = 1e-3
FAR_AWAY = 0.3  # of a person's longer side: a click farther from the box refers to a person who is not shown
SAME_PLACE = 0.05  # of a person's size: a click this close to a placed keypoint corrects it again


def apply_edit(
    predictor: Predictor,
    encoded: EncodedImage,
    poses: Sequence[Pose],
    edit: KeypointEdit | PersonEdit,
    present: Set[int] = frozenset(),
) -> tuple[list[Pose], int | None]:
    """Return the poses after one edit, and the number of the edited person.

    A keypoint far from all persons belongs to one who is missing, and adds this person. If no person is shown at all,
    the poses are unchanged and the number is None.

    Args:
        predictor: the model.
        encoded: the image.
        poses: all persons on the annotator's screen, with gaps.
        edit: what the annotator did.
        present: numbers of persons that are certainly on the screen.

    Raises:
        InvalidClick: the edit lies outside the image, or refers to a person that does not exist.
    """
    if isinstance(edit, PersonEdit):
        return _add_person(predictor, encoded, poses, edit)
    if shows_no_one(poses, edit):
        return predictor.add_person_at(encoded, list(poses), edit.keypoint, edit.xy_px), len(poses)
    person = choose_person(poses, edit, present, predictor.skeleton) if edit.person is None else edit.person
    if person is None:
        return list(poses), None
    click = Click(person, edit.keypoint, edit.xy_px, _visibility(edit, poses, person))
    return predictor.refine(encoded, poses, [click]), person


def shows_no_one(poses: Sequence[Pose], edit: KeypointEdit) -> bool:
    """Tell whether a keypoint was placed where persons are missing: far from all that are shown, and meant for none."""
    if edit.person is not None or edit.visibility == ABSENT:
        return False
    shown = [pose for pose in poses if not is_gap(pose)]
    return bool(shown) and all(_distance_to_box(pose, edit.xy_px) > FAR_AWAY * _size(pose) for pose in shown)


def _distance_to_box(pose: Pose, xy_px: tuple[float, float]) -> float:
    outside = np.maximum(pose.box_px[:2] - xy_px, xy_px - pose.box_px[2:])
    return float(np.linalg.norm(np.maximum(outside, 0)))


def _size(pose: Pose) -> float:
    return float((pose.box_px[2:] - pose.box_px[:2]).max())


def _add_person(
    predictor: Predictor, encoded: EncodedImage, poses: Sequence[Pose], edit: PersonEdit
) -> tuple[list[Pose], int]:
    """Add the person in a box. A box that exists already is the same edit sent again, and adds no one."""
    x0, y0, x1, y1 = (float(value) for value in edit.box_px)
    if (person := find_box(poses, edit.box_px)) is not None:
        return list(poses), person
    return predictor.add_person(encoded, list(poses), (x0, y0, x1, y1)), len(poses)


def find_box(poses: Sequence[Pose], box_px: ArrayLike) -> int | None:
    """Return the number of the person with exactly this box, or None."""
    for person, pose in enumerate(poses):
        if not is_gap(pose) and np.allclose(pose.box_px, box_px, rtol=0, atol=SAME_BOX_PX):
            return person
    return None


def choose_person(poses: Sequence[Pose], edit: KeypointEdit, present: Set[int], skeleton: Skeleton) -> int | None:
    """Return the person that a click refers to, or None if there are no persons.

    Preferred are, in this order: persons whose box contains the click, persons that are certainly on the screen,
    persons whose keypoint was not placed elsewhere by a human, and persons who have the keypoint right beside the
    click. Among equals it is the person with the nearest neighbouring keypoints: the clicked keypoint itself is
    misplaced, its neighbours in the skeleton are more reliable. An edit that marks a keypoint as absent refers to the
    nearest one.
    """
    k, linked = edit.keypoint, skeleton.linked(edit.keypoint)

    def rank(person: int) -> tuple[float, bool, bool, bool, bool, float]:
        pose = poses[person]
        distance, limbs = _mean_distance(pose, [k], edit.xy_px), _mean_distance(pose, linked, edit.xy_px)
        elsewhere = distance > SAME_PLACE * math.dist(*pose.box_px.reshape(2, 2))
        return (
            distance if edit.visibility == ABSENT else 0.0,
            not _contains(pose, edit.xy_px),
            person not in present,
            elsewhere and bool(pose.held[k]),
            elsewhere,
            distance if limbs == math.inf else limbs,
        )

    people = [person for person, pose in enumerate(poses) if not is_gap(pose)]
    return min(people, key=rank, default=None)


def _visibility(edit: KeypointEdit, poses: Sequence[Pose], person: int) -> int:
    """Return the visibility that the edit sets; by default an occluded keypoint stays occluded, others are visible."""
    if edit.visibility is not None:
        return edit.visibility
    was_occluded = person < len(poses) and poses[person].visibility[edit.keypoint] == OCCLUDED
    return OCCLUDED if was_occluded else VISIBLE


def _contains(pose: Pose, xy_px: tuple[float, float]) -> bool:
    """Return whether a person's box contains a point."""
    return bool((pose.box_px[:2] <= xy_px).all() and (pose.box_px[2:] >= xy_px).all())


def _mean_distance(pose: Pose, keypoints: Sequence[int], xy_px: tuple[float, float]) -> float:
    """Return the mean distance in pixels to the keypoints that are present; infinite if none is."""
    present = [k for k in keypoints if pose.visibility[k] != ABSENT]
    return float(np.linalg.norm(pose.keypoints_px[present] - xy_px, axis=1).mean()) if present else math.inf
