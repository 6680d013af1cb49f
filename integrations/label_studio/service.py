"""What the Label Studio routes need from a pose service, whoever hosts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clickpose.annotations import VISIBLE, Floats, Pose
from clickpose.skeleton import Skeleton


@dataclass(frozen=True)
class SeenKeypoint:
    """A keypoint as the annotator's screen shows it now: fresher than any draft.

    ``held`` is True where the screen itself says that a human placed it.
    """

    person: int
    keypoint: int
    xy_px: tuple[float, float]
    visibility: int = VISIBLE
    held: bool = False


@dataclass(frozen=True)
class Screen:
    """What is known of the annotator's screen.

    Attributes:
        session: names (project, task, user); edits of one session build on each other.
        image_url: the picture, as the task names it.
        saved: the poses last saved (draft, else annotation, else prediction); they may lag, or be empty. The
            index of a pose is its person's number everywhere; ``gap`` stands where a person was deleted.
        fresh: keypoints known to be on the screen at this very moment. They tell which of a session's states
            is the current one, so that an undo in the browser is noticed.
        earlier_session: what this session was called before Label Studio told who the user is, which it does
            not on the first clicks; states found under it may be this user's.
    """

    session: str
    image_url: str
    saved: Sequence[Pose] = ()
    fresh: Sequence[SeenKeypoint] = ()
    earlier_session: str = ""


def gap(num_keypoints: int) -> Pose:
    """Return the pose that keeps the number of a person who is no longer there: nothing visible, an empty box."""
    return Pose(
        np.zeros((num_keypoints, 2), np.float32),
        np.zeros(num_keypoints, np.int64),
        np.zeros(num_keypoints, np.float32),
        np.zeros(4, np.float32),
        0.0,
        np.zeros(num_keypoints, np.bool_),
    )


def is_gap(pose: Pose) -> bool:
    """Tell whether a pose only keeps a deleted person's number; nobody should click on it, or see it."""
    return not pose.box_px.any() and not pose.held.any() and not pose.visibility.any()


@dataclass(frozen=True)
class KeypointEdit:
    """The annotator placed a keypoint (visibility 1 or 2) or says that it is absent (visibility 0).

    ``visibility`` is None where she says nothing of it: an occluded keypoint stays so. ``person`` is None where only
    the place tells whose keypoint it is.
    """

    keypoint: int
    xy_px: tuple[float, float]
    visibility: int | None = None
    person: int | None = None


@dataclass(frozen=True)
class PersonEdit:
    """The annotator drew a box ``(4,)`` x0, y0, x1, y1 in pixels around a person the model missed."""

    box_px: Floats


@dataclass(frozen=True)
class PoseAnswer:
    """All persons of a picture, the picture's size in pixels and the model version that answered.

    ``edited`` is the number of the person whom an edit changed or added; None if it meant nobody.
    """

    poses: Sequence[Pose]
    size_wh: tuple[int, int]
    model_version: str
    edited: int | None = None


class PoseService(Protocol):
    """Predicts pictures and applies edits. Pictures are named by URL or path; every call is safe to repeat."""

    skeleton: Skeleton

    async def model_version(self) -> str:
        """Return the version that new answers carry, without waiting for the model."""
        ...

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        """Predict every person of a picture from scratch; ``ImageError`` if the picture cannot be had.

        Nobody waits at a screen for a picture of a batch.
        """
        ...

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        """Apply one edit to the poses on the annotator's screen.

        Persons keep their order, a new one is appended; held keypoints stay where they are to the last digit.

        Raises:
            InvalidClick: the edit lies outside the image; nothing was changed.
            ImageError: the picture cannot be had.
            NotReady: the model is still loading.
        """
        ...

    async def status(self) -> dict[str, Any]:
        """Return readiness and model versions for ``/health``, without waiting for the model."""
        ...
