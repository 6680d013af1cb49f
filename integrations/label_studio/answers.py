"""The answer to an edit: what it changes on the annotator's screen, and nothing else.

Label Studio overwrites every region that an answer names: its place, its visibility, all of it. What the annotator did
by hand in the seconds since the last draft is known to nobody but the browser, so whatever may stay is not named.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.interactions import Interaction
from integrations.label_studio.people import Person
from integrations.label_studio.points import Point, box_of
from integrations.label_studio.regions import is_certain, poses_to_result
from integrations.label_studio.schemas import RawRegion
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, gap, is_gap

SAME_PX = 0.05  # percent and back costs less, and nobody sees it


def write_answer(
    interaction: Interaction, answer: PoseAnswer, skeleton: Skeleton, *, repeat: bool = False
) -> list[RawRegion]:
    """Write an answer as regions.

    Args:
        interaction: the edit, and the screen it was made on.
        answer: everybody after the edit.
        skeleton: names the keypoints.
        repeat: name again what earlier answers held, because the browser may have dropped them.
    """
    result = poses_to_result(
        _shown(interaction, answer.poses),
        skeleton,
        answer.size_wh,
        model_version=answer.model_version,
        ids=interaction.ids,
    )
    if interaction.present is None:
        return result
    left_alone = _as_they_should_be(interaction, answer.poses)
    if not repeat:
        left_alone |= _held_before(interaction, result, skeleton) - _mislabelled(interaction)
    return [item for item in result if item["id"] not in left_alone]


def _shown(interaction: Interaction, poses: Sequence[Pose]) -> list[Pose]:
    """Return the poses with a gap for everybody whom the annotator deleted: they must not come back."""
    if interaction.present is None:
        return list(poses)
    edit = interaction.edit
    new = max((number for number, pose in enumerate(poses) if not is_gap(pose)), default=0)
    edited = new if isinstance(edit, PersonEdit) else edit.person
    return [
        pose if number in interaction.present or number == edited else gap(len(pose.visibility))
        for number, pose in enumerate(poses)
    ]


def _as_they_should_be(interaction: Interaction, poses: Sequence[Pose]) -> set[str]:
    """Return the ids of the regions that are known to show the poses, and of boxes that are the annotator's own."""
    ids: set[str] = set()
    for number, person in interaction.people.persons.items():
        if number < len(poses):
            ids |= {point.id for point in person.points.values() if _shows(point, poses[number])}
            ids |= {person.box_id} if _keeps_box(person, poses[number]) else set()
    return ids


def _held_before(interaction: Interaction, result: Sequence[RawRegion], skeleton: Skeleton) -> set[str]:
    """Return the ids of held keypoints, but for the one that the edit is about.

    There are none if that one is not on the screen under its label: the labels may be mixed up, see ``name_points``.
    """
    edit, about = interaction.edit, ""
    if isinstance(edit, KeypointEdit) and edit.person is not None:
        if (edit.person, edit.keypoint) not in {(seen.person, seen.keypoint) for seen in interaction.screen.fresh}:
            return set()
        about = interaction.ids.of(edit.person, skeleton.keypoints[edit.keypoint])
    return {item["id"] for item in result if item.get("meta", {}).get("held") and item["id"] != about}


def _mislabelled(interaction: Interaction) -> set[str]:
    people = interaction.people.persons.values()
    return {point.id for person in people for point in person.points.values() if point.mislabelled}


def _shows(point: Point, pose: Pose) -> bool:
    k = point.keypoint
    is_there = bool((np.abs(pose.keypoints_px[k] - point.xy_px) <= SAME_PX).all())
    return (
        is_there
        and not point.mislabelled
        and point.visibility == pose.visibility[k]
        and point.held == bool(pose.held[k])
    )


def _keeps_box(person: Person, pose: Pose) -> bool:
    """Tell whether a box may not be written: the annotator drew or resized it, or it is right as it is."""
    if person.box is None:
        return is_certain(pose)
    return person.box_is_drawn or bool((np.abs(box_of(person.box) - pose.box_px) <= SAME_PX).all())
