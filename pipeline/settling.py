"""How far poses move when the model looks once more: what is sure of itself stays where it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clickpose.annotations import Pose


def movement(before: Sequence[Pose], after: Sequence[Pose]) -> float:
    """Return the mean distance that keypoints moved, in roots of the person's box area; 0 for nobody."""
    distances = [
        float(np.linalg.norm(new.keypoints_px - old.keypoints_px, axis=-1).mean() / _side(old))
        for old, new in zip(before, after, strict=True)
    ]
    return float(np.mean(distances)) if distances else 0.0


def _side(pose: Pose) -> float:
    width, height = pose.box_px[2:] - pose.box_px[:2]
    return float(np.sqrt(max(1.0, float(width * height))))
