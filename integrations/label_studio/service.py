"""What the Label Studio routes need from a pose service, whoever hosts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clickpose.annotations import Click, Floats, Pose
from clickpose.skeleton import Skeleton


@dataclass(frozen=True)
class PoseEdit:
    """What an annotator just did to a picture: clicked a keypoint, or drew a box around a missed person.

    Exactly one of ``click`` and ``box_px`` is set.
    """

    click: Click | None = None
    box_px: Floats | None = None


@dataclass(frozen=True)
class PoseAnswer:
    """All persons of a picture after an edit, the picture's size and the model version that answered."""

    poses: list[Pose]
    size_wh: tuple[int, int]
    model_version: str


class PoseService(Protocol):
    """Opens pictures and applies edits; every call names the picture by its URL or path and is safe to repeat."""

    skeleton: Skeleton

    async def model_version(self) -> str:
        """Return the version that new answers carry; must not wait for the model."""
        ...

    async def predict(self, image_url: str) -> PoseAnswer:
        """Predict every person of a picture from scratch."""
        ...

    async def edit(self, image_url: str, poses: Sequence[Pose], edit: PoseEdit) -> PoseAnswer:
        """Apply one edit to the poses the annotator sees.

        The list keeps its order; a new person is appended. Held keypoints stay where they are.
        """
        ...

    async def status(self) -> dict[str, Any]:
        """Return readiness and versions for ``/health``; must not wait for the model."""
        ...
