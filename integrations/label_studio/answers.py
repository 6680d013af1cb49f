"""The answer to an edit: everybody on the screen, as they are after it.

Label Studio writes an answer's regions over those of the same id and leaves the others alone. Whoever the annotator
deleted is not named, so that nobody comes back. What she moved by hand in the few seconds since the last draft, under
another label than the click's, is known to nobody but the browser: there the answer repeats what was known before.
"""

from __future__ import annotations

from collections.abc import Sequence

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.interactions import Interaction
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.schemas import RawRegion
from integrations.label_studio.service import PersonEdit, PoseAnswer, gap, is_gap


def write_answer(interaction: Interaction, answer: PoseAnswer, skeleton: Skeleton) -> list[RawRegion]:
    """Write an answer as regions: all points with their visibility, then all boxes.

    Args:
        interaction: the edit, and the screen it was made on.
        answer: everybody after the edit.
        skeleton: names the keypoints.
    """
    return poses_to_result(
        _shown(interaction, answer.poses),
        skeleton,
        answer.size_wh,
        model_version=answer.model_version,
        ids=interaction.ids,
    )


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
