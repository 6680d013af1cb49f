"""The answer to an edit: everybody on the screen, as they are after it.

Label Studio writes an answer's regions over those of the same id and leaves the others alone. Whoever the annotator
deleted is not named, so that nobody comes back. What she moved by hand in the few seconds since the last draft, under
another label than the click's, is known to nobody but the browser: there the answer repeats what was known before.
"""

from __future__ import annotations

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.interactions import Interaction
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.schemas import RawRegion
from integrations.label_studio.service import PoseAnswer, gap


def write_answer(interaction: Interaction, answer: PoseAnswer, skeleton: Skeleton) -> list[RawRegion]:
    """Write an answer as regions: all points with their visibility, then all boxes.

    Args:
        interaction: the edit, and the screen it was made on.
        answer: everybody after the edit.
        skeleton: names the keypoints.
    """
    return poses_to_result(
        _shown(interaction, answer),
        skeleton,
        answer.size_wh,
        model_version=answer.model_version,
        ids=interaction.ids,
    )


def _shown(interaction: Interaction, answer: PoseAnswer) -> list[Pose]:
    """Return the poses with a gap for everybody whom the annotator deleted: they must not come back."""
    if interaction.present is None:
        return list(answer.poses)
    return [
        pose if number in interaction.present or number == answer.edited else gap(len(pose.visibility))
        for number, pose in enumerate(answer.poses)
    ]
