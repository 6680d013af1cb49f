"""What an edit on the annotator's screen means to the predictor."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from clickpose.annotations import ABSENT, OCCLUDED, VISIBLE, Click, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, is_gap

if TYPE_CHECKING:
    from clickpose.predictor import EncodedImage, Predictor

SAME_BOX_PX = 1e-3
SAME_PLACE = 0.05  # of a person's size: a click so near to a placed keypoint corrects it once more


def apply_edit(
    predictor: Predictor,
    encoded: EncodedImage,
    poses: Sequence[Pose],
    edit: KeypointEdit | PersonEdit,
    present: Set[int] = frozenset(),
) -> tuple[list[Pose], int | None]:
    """Return the poses after one edit, and the number of the person edited.

    The poses are unchanged, and the number is None, if the picture has nobody whose keypoint it could be.

    Args:
        predictor: the model.
        encoded: the picture.
        poses: everybody on the annotator's screen, with gaps.
        edit: what she did.
        present: numbers of those who certainly are on her screen.

    Raises:
        InvalidClick: the edit lies outside the picture or names a person who is not there.
    """
    if isinstance(edit, PersonEdit):
        return _add_person(predictor, encoded, poses, edit)
    person = choose_person(poses, edit, present, predictor.skeleton) if edit.person is None else edit.person
    if person is None:
        return list(poses), None
    click = Click(person, edit.keypoint, edit.xy_px, _visibility(edit, poses, person))
    return predictor.refine(encoded, _before_drag(poses, edit, person), [click]), person


def _before_drag(poses: Sequence[Pose], edit: KeypointEdit, person: int) -> list[Pose]:
    """Return the poses with a keypoint that was dragged where it came from, so that a drag is read as a click is."""
    before = list(poses)
    if edit.from_px is not None and 0 <= person < len(before):
        keypoints_px = before[person].keypoints_px.copy()
        keypoints_px[edit.keypoint] = edit.from_px
        before[person] = replace(before[person], keypoints_px=keypoints_px)
    return before


def _add_person(
    predictor: Predictor, encoded: EncodedImage, poses: Sequence[Pose], edit: PersonEdit
) -> tuple[list[Pose], int]:
    """Add the person in a box. Nobody draws the very same box twice: that is the same edit, sent once more."""
    x0, y0, x1, y1 = (float(value) for value in edit.box_px)
    for person, pose in enumerate(poses):
        if not is_gap(pose) and np.allclose(pose.box_px, edit.box_px, rtol=0, atol=SAME_BOX_PX):
            return list(poses), person
    return predictor.add_person(encoded, list(poses), (x0, y0, x1, y1)), len(poses)


def choose_person(poses: Sequence[Pose], edit: KeypointEdit, present: Set[int], skeleton: Skeleton) -> int | None:
    """Return whom a click means, or None if there is nobody.

    Those whose box holds the click come first, then those who are certainly on the screen, those whose same keypoint
    no human has settled elsewhere, and those who show it right beside the click. Among equals it is the one whose
    limbs end nearest: the clicked keypoint itself is where it should not be, the other ends of its limbs tell better
    whose it is. To say that a keypoint is absent she clicks on the very one.
    """
    k, linked = edit.keypoint, skeleton.linked(edit.keypoint)

    def rank(person: int) -> tuple[float, bool, bool, bool, bool, float]:
        pose = poses[person]
        distance, limbs = _mean_distance(pose, [k], edit.xy_px), _mean_distance(pose, linked, edit.xy_px)
        elsewhere = distance > SAME_PLACE * math.dist(*pose.box_px.reshape(2, 2))
        return (
            distance if edit.visibility == ABSENT else 0.0,
            not _holds(pose, edit.xy_px),
            person not in present,
            elsewhere and bool(pose.held[k]),
            elsewhere,
            distance if limbs == math.inf else limbs,
        )

    people = [person for person, pose in enumerate(poses) if not is_gap(pose)]
    return min(people, key=rank, default=None)


def _visibility(edit: KeypointEdit, poses: Sequence[Pose], person: int) -> int:
    """What the edit says, or else as before: a keypoint that is occluded stays so, any other becomes visible."""
    if edit.visibility is not None:
        return edit.visibility
    was_occluded = person < len(poses) and poses[person].visibility[edit.keypoint] == OCCLUDED
    return OCCLUDED if was_occluded else VISIBLE


def _holds(pose: Pose, xy_px: tuple[float, float]) -> bool:
    """Tell whether a person's box contains a point."""
    return bool((pose.box_px[:2] <= xy_px).all() and (pose.box_px[2:] >= xy_px).all())


def _mean_distance(pose: Pose, keypoints: Sequence[int], xy_px: tuple[float, float]) -> float:
    """Mean distance in pixels to those of the keypoints that are shown; infinite if none is."""
    shown = [k for k in keypoints if pose.visibility[k] != ABSENT]
    return float(np.linalg.norm(pose.keypoints_px[shown] - xy_px, axis=1).mean()) if shown else math.inf
