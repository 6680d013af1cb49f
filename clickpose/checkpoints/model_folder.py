"""A model on disk: a folder that can be copied, inspected and trusted, since nothing in it is executed.

config.json           the shape of the network (``ModelConfig``)
skeleton.json         the keypoints it knows (``Skeleton``)
weights.safetensors   every weight by name
metrics.json          numbers measured on it
card.md               data, parents and numbers, for people
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clickpose.errors import ClickPoseError, InvalidModel
from clickpose.model import ClickPose, ModelConfig
from clickpose.skeleton import Skeleton

FILES = ("config.json", "skeleton.json", "weights.safetensors", "metrics.json", "card.md")


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for inference, with the keypoints it knows and the numbers measured on it."""

    network: ClickPose
    skeleton: Skeleton
    metrics: dict[str, Any]


def save_model(
    folder: str | Path,
    network: ClickPose,
    skeleton: Skeleton,
    *,
    metrics: Mapping[str, Any],
    card: str,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a model folder; existing files in it are replaced. Weights may be stored in half precision."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: w.detach().cpu().to(dtype if w.is_floating_point() else w.dtype).contiguous()
        for name, w in network.state_dict().items()
    }
    _write_json(folder / "config.json", network.config.to_dict())
    _write_json(folder / "skeleton.json", skeleton.to_dict())
    save_file(weights, folder / "weights.safetensors")
    _write_json(folder / "metrics.json", metrics)
    (folder / "card.md").write_text(card)
    return folder


def load_model(folder: str | Path) -> LoadedModel:
    """Read a model folder.

    Raises:
        InvalidModel: a file is missing or unreadable, or weights and configuration do not fit.
    """
    folder = Path(folder)
    missing = [name for name in FILES[:3] if not (folder / name).is_file()]
    if missing:
        raise InvalidModel(f"{folder} is not a model folder: {', '.join(missing)} missing")
    try:
        config = ModelConfig.from_dict(json.loads((folder / "config.json").read_text()))
        skeleton = Skeleton.from_dict(json.loads((folder / "skeleton.json").read_text()))
        weights = load_file(folder / "weights.safetensors")
        metrics = folder / "metrics.json"
        numbers = json.loads(metrics.read_text()) if metrics.is_file() else {}
    except (OSError, ValueError, TypeError, SafetensorError, ClickPoseError) as error:
        raise InvalidModel(f"{folder} cannot be read: {error}") from error
    if len(skeleton) != config.num_keypoints:
        raise InvalidModel(
            f"{folder}: {len(skeleton)} keypoints in skeleton.json, {config.num_keypoints} in config.json"
        )
    network = ClickPose(config)
    load_weights(network, weights, str(folder))
    return LoadedModel(network.eval(), skeleton, numbers)


def load_weights(network: ClickPose, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Copy weights into a network.

    Raises:
        InvalidModel: weights are missing, left over or of another shape; all of them are listed.
    """
    wanted = network.state_dict()
    problems = [f"{key} is missing" for key in wanted if key not in weights]
    problems += [f"{key} is unknown" for key in weights if key not in wanted]
    problems += [
        f"{key} has shape {tuple(weights[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    if problems:
        raise InvalidModel(f"{name}: weights do not fit: {'; '.join(sorted(problems))}")
    network.load_state_dict({key: weights[key].to(wanted[key].dtype) for key in wanted})


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
