"""What the Label Studio routes need from a pose service, whoever hosts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clickpose.annotations import VISIBLE, Floats, Pose
from clickpose.skeleton import Skeleton


@dataclass(frozen=True)
class SeenKeypoint:
    """A keypoint as the annotator's screen shows it now: fresher than any draft."""

    person: int
    keypoint: int
    xy_px: tuple[float, float]


@dataclass(frozen=True)
class Screen:
    """What is known of the annotator's screen.

    Attributes:
        session: names (project, task, user); edits of one session build on each other.
        image_url: the picture, as the task names it.
        saved: the poses last saved (draft, else annotation, else prediction); they may lag, or be empty.
        fresh: keypoints known to be on the screen at this very moment. They tell which of a session's states
            is the current one, so that an undo in the browser is noticed.
    """

    session: str
    image_url: str
    saved: Sequence[Pose] = ()
    fresh: Sequence[SeenKeypoint] = ()


@dataclass(frozen=True)
class KeypointEdit:
    """The annotator placed a keypoint (visibility 1 or 2) or says that it is absent (visibility 0).

    ``person`` is None when only the place is known; the nearest person is meant.
    """

    keypoint: int
    xy_px: tuple[float, float]
    visibility: int = VISIBLE
    person: int | None = None


@dataclass(frozen=True)
class PersonEdit:
    """The annotator drew a box ``(4,)`` x0, y0, x1, y1 in pixels around a person the model missed."""

    box_px: Floats


@dataclass(frozen=True)
class PoseAnswer:
    """All persons of a picture, the picture's size in pixels and the model version that answered."""

    poses: Sequence[Pose]
    size_wh: tuple[int, int]
    model_version: str


class PoseService(Protocol):
    """Predicts pictures and applies edits. Pictures are named by URL or path; every call is safe to repeat."""

    skeleton: Skeleton

    async def model_version(self) -> str:
        """Return the version that new answers carry, without waiting for the model."""
        ...

    async def predict(self, image_url: str) -> PoseAnswer:
        """Predict every person of a picture from scratch; ``ImageError`` if the picture cannot be had."""
        ...

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        """Apply one edit to the poses on the annotator's screen.

        Persons keep their order, a new one is appended; held keypoints stay where they are to the last digit.

        Raises:
            InvalidClick: the edit lies outside the picture; nothing was changed.
            ImageError: the picture cannot be had.
            NotReady: the model is still loading.
        """
        ...

    async def status(self) -> dict[str, Any]:
        """Return readiness and model versions for ``/health``, without waiting for the model."""
        ...
