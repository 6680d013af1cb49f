"""Clicks before any model sees them: checked, and applied to the poses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clickpose.annotations import ABSENT, Click, Floats, Pose
from clickpose.errors import InvalidClick, InvalidConfig
from clickpose.skeleton import Skeleton

HOLDS = ("none", "current", "all")

Array = TypeVar("Array", bound=NDArray[Any])


def apply_clicks(
    poses: Sequence[Pose], clicks: Sequence[Click], skeleton: Skeleton, size_wh: tuple[int, int], hold: str = "all"
) -> list[Pose]:
    """Move clicked keypoints to where a human placed them and mark them held; nothing else moves.

    Raises:
        InvalidClick: a click names no person or keypoint, or lies outside the image.
        InvalidConfig: ``hold`` is unknown.
    """
    if hold not in HOLDS:
        raise InvalidConfig(f"hold is {hold!r}, must be one of {', '.join(HOLDS)}")
    corrected = list(poses) if hold == "all" else [dataclasses.replace(p, held=np.zeros_like(p.held)) for p in poses]
    for click in clicks:
        keypoint = _check_click(click, len(poses), skeleton, size_wh)
        pose = corrected[click.person]
        xy = pose.keypoints_px[keypoint] if click.visibility == ABSENT else click.xy_px
        corrected[click.person] = dataclasses.replace(
            pose,
            keypoints_px=_put(pose.keypoints_px, keypoint, xy),
            visibility=_put(pose.visibility, keypoint, click.visibility),
            scores=_put(pose.scores, keypoint, 1.0),
            held=_put(pose.held, keypoint, hold != "none"),
        )
    return corrected


def _check_click(click: Click, num_poses: int, skeleton: Skeleton, size_wh: tuple[int, int]) -> int:
    if not 0 <= click.person < num_poses:
        raise InvalidClick(f"person {click.person} is outside 0..{num_poses - 1}")
    if click.visibility not in (0, 1, 2):
        raise InvalidClick(f"visibility {click.visibility} of {click.keypoint!r} must be 0, 1 or 2")
    if click.visibility == ABSENT:
        return _check_keypoint(click.keypoint, skeleton)
    return check_place(click.keypoint, click.xy_px, skeleton, size_wh)


def check_place(keypoint: str | int, xy_px: tuple[float, float], skeleton: Skeleton, size_wh: tuple[int, int]) -> int:
    """Return the index of a keypoint that a human placed; InvalidClick if it is unknown or outside the image."""
    index = _check_keypoint(keypoint, skeleton)
    if not all(0 <= value <= limit for value, limit in zip(xy_px, size_wh, strict=True)):
        raise InvalidClick(f"click at {xy_px} lies outside the image of {size_wh[0]} x {size_wh[1]} pixels")
    return index


def _check_keypoint(keypoint: str | int, skeleton: Skeleton) -> int:
    try:
        return skeleton.index(keypoint)
    except KeyError:
        raise InvalidClick(f"skeleton {skeleton.name!r} has no keypoint {keypoint!r}") from None


def check_box(box_px: Sequence[float] | Floats, size_wh: tuple[int, int]) -> Floats:
    """Clip a drawn box ``x0, y0, x1, y1`` to the image; InvalidClick if nothing is left of it."""
    box = np.asarray(box_px, np.float32)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise InvalidClick(f"a person's box needs four finite numbers, not {box_px}")
    box = np.clip(box, 0, np.tile(np.asarray(size_wh, np.float32), 2))
    if (box[2:] - box[:2] < 1).any():
        raise InvalidClick(f"the person's box {tuple(box_px)} is empty or outside the image")
    return box


def _put(array: Array, index: int, value: Any) -> Array:
    copy = array.copy()
    copy[index] = value
    return copy
