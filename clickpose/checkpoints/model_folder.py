"""A model on disk: a folder that can be copied, inspected and trusted, since nothing in it is executed.

config.json           the shape of the network (``ModelConfig``, or ``PersonFrameConfig`` where "form" says so)
skeleton.json         the keypoints it knows (``Skeleton``)
weights.safetensors   every weight by name
looker.safetensors    the weights of its looker, if that was trained further; else the packaged ones are used
metrics.json          numbers measured on it
card.md               data, parents and numbers, for people
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from clickpose.checkpoints.files import CARD, CONFIG, LOOKER, METRICS, NEEDED, SKELETON, WEIGHTS
from clickpose.errors import ClickPoseError, InvalidModel
from clickpose.model import ClickPose, ModelConfig
from clickpose.person_frame.config import FORM, PersonFrameConfig
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton

Network: TypeAlias = ClickPose | PersonFrameNetwork
OF_LOOKER = "looker."  # how the names of its weights begin in the network


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for inference, with the keypoints it knows and the numbers measured on it."""

    network: Network
    skeleton: Skeleton
    metrics: dict[str, Any]

    def published_form(self) -> ClickPose:
        """Return the network of a model of the published form; InvalidModel if it has the other one."""
        if not isinstance(self.network, ClickPose):
            raise InvalidModel("this model works in the person's frame; this operation needs the published form")
        return self.network


def save_model(
    folder: str | Path,
    network: Network,
    skeleton: Skeleton,
    *,
    metrics: Mapping[str, Any],
    card: str,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a model folder; existing files in it are replaced.

    Weights may be stored in half precision; those of a looker always are, as the packaged ones.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}
    looker = {name: weights.pop(name).half() for name in list(weights) if name.startswith(OF_LOOKER)}
    _write_json(folder / CONFIG, config_of(network).to_dict())
    _write_json(folder / SKELETON, skeleton.to_dict())
    _write_weights(
        folder / WEIGHTS, {name: w.to(dtype if w.is_floating_point() else w.dtype) for name, w in weights.items()}
    )
    (folder / LOOKER).unlink(missing_ok=True)
    if looker:
        _write_weights(folder / LOOKER, {name.removeprefix(OF_LOOKER): weight for name, weight in looker.items()})
    _write_json(folder / METRICS, metrics)
    (folder / CARD).write_text(card)
    return folder


def load_model(folder: str | Path) -> LoadedModel:
    """Read a model folder.

    Raises:
        InvalidModel: a file is missing or unreadable, or weights and configuration do not fit.
    """
    folder = Path(folder)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise InvalidModel(f"{folder} is not a model folder: {', '.join(missing)} missing")
    try:
        network = build_network(json.loads((folder / CONFIG).read_bytes()))
        skeleton = Skeleton.from_dict(json.loads((folder / SKELETON).read_bytes()))
        weights = load_file(folder / WEIGHTS)
        if getattr(network, "looker", None) is not None:
            weights |= {OF_LOOKER + name: weight for name, weight in load_file(folder / LOOKER).items()}
        metrics = folder / METRICS
        numbers = json.loads(metrics.read_bytes()) if metrics.is_file() else {}
    except (OSError, ValueError, TypeError, SafetensorError, ClickPoseError) as error:
        raise InvalidModel(f"{folder} cannot be read: {error}") from error
    if len(skeleton) != network.config.num_keypoints:
        raise InvalidModel(
            f"{folder}: {len(skeleton)} keypoints in {SKELETON}, {network.config.num_keypoints} in {CONFIG}"
        )
    load_weights(network, weights, str(folder))
    return LoadedModel(network.eval(), skeleton, numbers)


def build_network(config: Mapping[str, Any]) -> Network:
    """Build a network of the form that its configuration states, with weights yet to be loaded.

    Raises:
        InvalidConfig: a setting is unknown or out of range.
    """
    if isinstance(config, Mapping) and config.get("form") == FORM:
        return PersonFrameNetwork(PersonFrameConfig.from_dict(config))
    return ClickPose(ModelConfig.from_dict(config))


def config_of(network: Network) -> ModelConfig | PersonFrameConfig:
    """Return the configuration that a network was built from."""
    return network.config if isinstance(network, ClickPose) else network.frame_config


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
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


def _write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    save_file(dict(weights), path)
    shutil.copymode(path.with_name(CONFIG), path)  # safetensors writes files that only their owner can read


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
