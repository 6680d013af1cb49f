"""Smoke test of a new model: every step of the method, on a synthetic image as large as a photo, with three persons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from clickpose.annotations import Click, Pose
from clickpose.errors import InvalidModel
from clickpose.skeleton import Skeleton

if TYPE_CHECKING:
    from clickpose.predictor import Predictor

LoadModel: TypeAlias = "Callable[[Path, str], Predictor]"

SIZE_WH = (640, 480)
BOXES_PX = ((40.0, 40.0, 200.0, 440.0), (240.0, 40.0, 400.0, 440.0), (440.0, 40.0, 600.0, 440.0))
CLICK_XY_PX = (520.0, 120.0)  # in the last box


@dataclass(frozen=True)
class ServedModel:
    """A predictor, its version, and the memory that an encoded photo with three persons takes."""

    predictor: Predictor
    version: str
    image_bytes: int


def load_and_test(load: LoadModel, folder: Path, version: str, skeleton: Skeleton) -> ServedModel:
    """Load a model, detect persons, add three and click on the last.

    Raises:
        InvalidModel: the model has other keypoints than ``skeleton``, a step fails, coordinates are not finite, or a
            clicked keypoint is not where it was clicked.
    """
    try:
        predictor = load(folder, version)
        _check_skeleton(predictor.skeleton, skeleton, version)
        encoded = predictor.encode(Image.linear_gradient("L").resize(SIZE_WH).convert("RGB"))
        poses = predictor.detect(encoded)
        for box_px in BOXES_PX:
            poses = predictor.add_person(encoded, poses, box_px)
        poses = predictor.refine(encoded, poses, [Click(len(poses) - 1, 0, CLICK_XY_PX)])
    except InvalidModel:
        raise
    except Exception as error:  # no error of a new model may stop the current one
        raise InvalidModel(f"model {version} cannot be served: {error}") from error
    _check_poses(poses, len(skeleton), version)
    return ServedModel(predictor, version, encoded.num_bytes)


def _check_skeleton(found: Skeleton, wanted: Skeleton, version: str) -> None:
    if found.keypoints != wanted.keypoints:
        raise InvalidModel(
            f"model {version} has the keypoints of {found.name!r}, but this service those of {wanted.name!r}: "
            "start a new service for this model"
        )


def _check_poses(poses: Sequence[Pose], num_keypoints: int, version: str) -> None:
    shape = (num_keypoints, 2)
    if not all(pose.keypoints_px.shape == shape and np.isfinite(pose.keypoints_px).all() for pose in poses):
        raise InvalidModel(f"model {version} cannot be served: its keypoints are not {shape} finite numbers")
    if not np.array_equal(poses[-1].keypoints_px[0], np.asarray(CLICK_XY_PX, np.float32)):
        raise InvalidModel(f"model {version} cannot be served: it moved a keypoint that a human placed")
