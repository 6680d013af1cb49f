"""The interface of the pose service behind the Label Studio routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clickpose.annotations import VISIBLE, Floats, Pose
from clickpose.skeleton import Skeleton


@dataclass(frozen=True)
class SeenKeypoint:
    """A keypoint as the annotator's screen shows it now: newer than any draft.

    ``held`` is True if the screen itself says that a human placed it.
    """

    person: int
    keypoint: int
    xy_px: tuple[float, float]
    visibility: int = VISIBLE
    held: bool = False


@dataclass(frozen=True)
class Screen:
    """The known state of the annotator's screen.

    Attributes:
        session: names (project, task, user); edits of one session build on each other.
        image_url: the image, as the task names it.
        saved: the poses last saved (draft, else annotation, else prediction); they may lag, or be empty. The
            index of a pose is its person's number everywhere; ``gap`` takes the place of a deleted person.
        fresh: keypoints known to be on the screen now. They show which of a session's states is the current one, so
            that an undo in the browser is noticed.
        earlier_session: the name of this session while the user was unknown, which is so for the first clicks; states
            stored under it may be this user's.
    """

    session: str
    image_url: str
    saved: Sequence[Pose] = ()
    fresh: Sequence[SeenKeypoint] = ()
    earlier_session: str = ""


def gap(num_keypoints: int) -> Pose:
    """Return a pose that keeps the number of a deleted person: nothing visible, an empty box."""
    return Pose(
        np.zeros((num_keypoints, 2), np.float32),
        np.zeros(num_keypoints, np.int64),
        np.zeros(num_keypoints, np.float32),
        np.zeros(4, np.float32),
        0.0,
        np.zeros(num_keypoints, np.bool_),
    )


def is_gap(pose: Pose) -> bool:
    """Tell whether a pose only keeps a deleted person's number; it must not be shown."""
    return not pose.box_px.any() and not pose.held.any() and not pose.visibility.any()


@dataclass(frozen=True)
class KeypointEdit:
    """The annotator placed a keypoint (visibility 1 or 2) or says that it is absent (visibility 0).

    ``visibility`` is None if she did not set it: an occluded keypoint stays so. ``person`` is None if only the place
    tells whose keypoint it is.
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
    """All persons of an image, the image's size in pixels and the model version that answered.

    ``edited`` is the number of the person that an edit changed or added; None without one.
    """

    poses: Sequence[Pose]
    size_wh: tuple[int, int]
    model_version: str
    edited: int | None = None


class PoseService(Protocol):
    """Predicts images and applies edits. Images are named by URL or path; every call is safe to repeat."""

    skeleton: Skeleton

    async def model_version(self) -> str:
        """Return the version of new answers, without waiting for the model."""
        ...

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        """Predict all persons of an image from scratch; ``ImageError`` if the image could not be fetched.

        Images of a batch have low priority: no annotator waits for them.
        """
        ...

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        """Apply one edit to the poses on the annotator's screen.

        Persons keep their order, a new one is appended; held keypoints stay exactly where they are.

        Raises:
            InvalidClick: the edit lies outside the image; nothing was changed.
            ImageError: the image could not be fetched.
            NotReady: the model is still loading.
        """
        ...

    async def status(self) -> dict[str, Any]:
        """Return readiness and model versions for ``/health``, without waiting for the model."""
        ...
