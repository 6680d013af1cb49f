"""Tasks to import into a project: images with their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.service import is_gap


def make_task(
    image_url: str,
    size_wh: tuple[int, int],
    *,
    file_name: str,
    predictions: Sequence[Mapping[str, Any]] = (),
    image_key: str = "image",
) -> dict[str, Any]:
    """Return a task to import; its data contain the image's size, which is needed if there are no people."""
    data = {image_key: image_url, "file_name": file_name, "width": size_wh[0], "height": size_wh[1]}
    return {"data": data, "predictions": [dict(prediction) for prediction in predictions]}


def make_prediction(
    poses: Sequence[Pose],
    skeleton: Skeleton,
    size_wh: tuple[int, int],
    *,
    model_version: str,
    score: float | None = None,
) -> dict[str, Any]:
    """Return a prediction to import with a task, or to answer with.

    Args:
        poses: all persons of the image.
        skeleton: names the keypoints.
        size_wh: size in pixels of the upright image.
        model_version: Label Studio groups predictions by it.
        score: with uncertainty sampling the lowest comes first; None means the mean confidence of the keypoints.
    """
    return {
        "model_version": model_version,
        "score": mean_confidence(poses) if score is None else score,
        "result": poses_to_result(poses, skeleton, size_wh, model_version=model_version),
    }


def mean_confidence(poses: Sequence[Pose]) -> float:
    """Return the mean confidence of all keypoints in [0, 1]; 1 without a person: there is nothing to correct."""
    found = [pose.scores.mean() for pose in poses if not is_gap(pose)]
    return float(np.mean(found)) if found else 1.0
