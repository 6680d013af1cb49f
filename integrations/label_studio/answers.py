"""The answer to an edit: all persons on the screen, as they are after it.

Label Studio replaces regions that have the same id as one of the answer, and leaves the others. Persons whom the
annotator deleted are not in the answer, so that they stay deleted. A point of another label than the click's that she
moved by hand in the few seconds since the last draft is known only to the browser: the answer repeats its old place.
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
        answer: all persons after the edit.
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
    """Return the poses with a gap for each person whom the annotator deleted: they must stay deleted."""
    if interaction.present is None:
        return list(answer.poses)
    return [
        pose if number in interaction.present or number == answer.edited else gap(len(pose.visibility))
        for number, pose in enumerate(answer.poses)
    ]
