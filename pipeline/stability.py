"""How far poses move in one more round, or in the mirrored image: stable poses are likely right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton


def movement(before: Sequence[Pose], after: Sequence[Pose]) -> float:
    """Return the mean distance that keypoints moved, divided by the root of the box area; 0 without persons."""
    distances = [
        float(np.linalg.norm(new.keypoints_px - old.keypoints_px, axis=-1).mean() / _side(old))
        for old, new in zip(before, after, strict=True)
    ]
    return float(np.mean(distances)) if distances else 0.0


def mirror_difference(poses: Sequence[Pose], mirrored: Sequence[Pose], width: int, skeleton: Skeleton) -> float:
    """Return the mean distance of each pose from the nearest in the mirrored image, by the root of its box area.

    Args:
        poses: in an image.
        mirrored: in the same image, mirrored.
        width: of the image in pixels.
        skeleton: of the poses; it says which keypoints are swapped.

    Returns:
        0 if both agree, at most 1; also 1 if only one of them has persons.
    """
    if not poses or not mirrored:
        return float(len(poses) != len(mirrored))
    back = np.stack([pose.keypoints_px[skeleton.flip_permutation] for pose in mirrored]).copy()
    back[..., 0] = width - 1 - back[..., 0]
    nearest = [float(np.linalg.norm(back - pose.keypoints_px, axis=-1).mean(-1).min() / _side(pose)) for pose in poses]
    return float(np.minimum(nearest, 1.0).mean())


def _side(pose: Pose) -> float:
    width, height = pose.box_px[2:] - pose.box_px[:2]
    return float(np.sqrt(max(1.0, float(width * height))))
