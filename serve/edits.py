"""What an edit on the annotator's screen means to the predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clickpose.annotations import ABSENT, Click, Pose
from integrations.label_studio.service import KeypointEdit, PersonEdit, is_gap

if TYPE_CHECKING:
    from clickpose.predictor import EncodedImage, Predictor

BOX_MARGIN = 0.1  # of a box's width and height: people aim past the edges of predicted boxes


def apply_edit(
    predictor: Predictor, encoded: EncodedImage, poses: Sequence[Pose], edit: KeypointEdit | PersonEdit
) -> list[Pose]:
    """Return the poses after one edit; they are unchanged if the picture has nobody whose keypoint it could be.

    Raises:
        InvalidClick: the edit lies outside the picture or names a person who is not there.
    """
    if isinstance(edit, PersonEdit):
        x0, y0, x1, y1 = (float(value) for value in edit.box_px)
        return predictor.add_person(encoded, list(poses), (x0, y0, x1, y1))
    person = nearest_person(poses, edit) if edit.person is None else edit.person
    if person is None:
        return list(poses)
    click = Click(person, edit.keypoint, edit.xy_px, edit.visibility)
    return predictor.refine(encoded, list(poses), [click])


def nearest_person(poses: Sequence[Pose], edit: KeypointEdit) -> int | None:
    """Return the person whose keypoint an edit means, or None if there is nobody.

    Those whose box contains the click come first; among them the one whose keypoint is nearest, or whose box centre
    is if it shows no such keypoint.
    """
    people = [person for person, pose in enumerate(poses) if not is_gap(pose)]
    return min(people, key=lambda person: _remoteness(poses[person], edit), default=None)


def _remoteness(pose: Pose, edit: KeypointEdit) -> tuple[bool, float]:
    """Return whether a click is outside a person's box, and how many pixels from the keypoint it means."""
    corners_px = pose.box_px.reshape(2, 2)
    margin_px = BOX_MARGIN * (corners_px[1] - corners_px[0])
    inside = (corners_px[0] - margin_px <= edit.xy_px) & (edit.xy_px <= corners_px[1] + margin_px)
    shown = pose.visibility[edit.keypoint] != ABSENT
    place_px = pose.keypoints_px[edit.keypoint] if shown else corners_px.mean(0)
    return not inside.all(), float(np.hypot(*(place_px - edit.xy_px)))
