"""The files of a model folder, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clickpose.errors import InvalidModel, InvalidSkeleton

if TYPE_CHECKING:
    from clickpose.skeleton import Skeleton

CONFIG, SKELETON, WEIGHTS = "config.json", "skeleton.json", "weights.safetensors"
METRICS, CARD = "metrics.json", "card.md"
LOOKER = "looker.safetensors"  # only where the looker was trained further
NEEDED = (CONFIG, SKELETON, WEIGHTS)  # to load it
COMPUTES_WITH = (*NEEDED, LOOKER)
ALL = (*NEEDED, METRICS, CARD)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the content of a model folder's ``config.json``.

    Raises:
        InvalidModel: there is none, or it cannot be read.
    """
    try:
        config: dict[str, Any] = json.loads((Path(folder) / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{folder} is not a model folder: {CONFIG} cannot be read ({error})") from error
    return config


def skeleton_of(folder: str | Path) -> Skeleton:
    """Return the keypoints that a model knows, without loading the model.

    Raises:
        InvalidModel: there is no ``skeleton.json``, or it does not describe a skeleton.
    """
    from clickpose.skeleton import Skeleton  # numpy, which --help need not wait for

    try:
        return Skeleton.load(Path(folder) / SKELETON)
    except InvalidSkeleton as error:
        raise InvalidModel(f"{folder} is not a model folder: {SKELETON} cannot be read ({error})") from error
