"""A published checkpoint: a torch file of weights under the names its authors gave them.

    model        the weights that the published numbers were measured with
    ema_model    its running average over training, if the file keeps one

Or the file is such a dict of weights itself. Names may begin with ``module.``, which parallel training adds.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clickpose.checkpoints.model_folder import load_weights
from clickpose.checkpoints.published_names import from_published, to_published, twin_name
from clickpose.errors import InvalidModel
from clickpose.model import ClickPose, ModelConfig, resnet50_coco

ENTRIES = ("model", "ema_model")
SIZED_BY_KEYPOINTS = (("transformer.decoder.hw.weight", 0), ("label_enc_pose.weight", 1))  # rows beyond K
# what the reader of torch raises on bytes that are no pickle
DAMAGE = (AssertionError, AttributeError, EOFError, LookupError, TypeError, struct.error)
NOT_IN_WEIGHTS = ("short_side_px", "long_side_px", "num_queries", "num_refined", "silent_rounds", "min_score")


def read_checkpoint(path: str | Path, entry: str = "model") -> dict[str, Tensor]:
    """Read the weights of a published checkpoint; nothing in the file is executed.

    Args:
        path: the torch file.
        entry: which weights to take, one of ``ENTRIES``; a file that is itself a dict of weights has a ``model`` only.

    Returns:
        Weights by published name, without ``module.`` and without the unused batch counters.

    Raises:
        InvalidModel: the file cannot be read, contains anything but values, or lacks the entry.
    """
    weights = _choose(_load(path), entry, path)
    strange = [f"{name} is a {type(value).__name__}" for name, value in weights.items() if not _is_weight(value)]
    if strange:
        raise InvalidModel(f"{path}: {entry} contains entries that are not weights: {'; '.join(strange)}")
    named = {str(name).removeprefix("module.").removeprefix("module."): value for name, value in weights.items()}
    return {name: value for name, value in named.items() if not name.endswith("num_batches_tracked")}


def build_network(
    weights: Mapping[str, Tensor], name: str, preset: Callable[[int], ModelConfig] = resnet50_coco
) -> ClickPose:
    """Build the published network for as many keypoints as the weights are for.

    Args:
        weights: from ``read_checkpoint``.
        name: their name in error messages.
        preset: from the number of keypoints to the network.

    Raises:
        InvalidModel: weights are missing, left over, of another shape, not finite, or differ from their alias;
            all of them are listed under their published names.
    """
    network = ClickPose(preset(_num_keypoints(weights, name)))
    problems = sorted(_problems(weights, to_published(network.state_dict())))
    if problems:
        raise InvalidModel(f"{name}: {len(problems)} weights do not fit the published model: {'; '.join(problems)}")
    load_weights(network, from_published({twin_name(key): weight for key, weight in weights.items()}), name)
    return network.eval()


def write_checkpoint(
    network: ClickPose, path: str | Path, preset: Callable[[int], ModelConfig] = resnet50_coco
) -> list[str]:
    """Write the weights of a network, under all the names that a published checkpoint has.

    Returns:
        Settings that differ from the published ones and that a checkpoint cannot contain.

    Raises:
        InvalidModel: the network is not built as the published one is, which could not load its weights.
    """
    published, ours = asdict(preset(network.config.num_keypoints)), asdict(network.config)
    changed = [f"{name} is {ours[name]!r}, not {published[name]!r}" for name in ours if ours[name] != published[name]]
    built = [setting for setting in changed if setting.split()[0] not in NOT_IN_WEIGHTS]
    if built:
        raise InvalidModel(f"the published program could not load this model: {'; '.join(built)}")
    weights = {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}
    partial = Path(f"{path}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": to_published(weights)}, partial)
    os.replace(partial, path)
    return changed


def _load(path: str | Path) -> Any:
    try:
        # published files contain the options of their training in a Namespace, which has values only and runs no code
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            trusting = f"torch.save({{'model': torch.load({str(path)!r}, weights_only=False)['model']}}, 'weights.pth')"
            raise InvalidModel(
                f"{path} holds a {named[1]} beside its weights, and reading that could run code. "
                f"If you trust the file, save its weights alone: {trusting}"
            ) from error
        raise InvalidModel(f"{path} is not a torch file, or is damaged") from error
    except DAMAGE as error:
        raise InvalidModel(f"{path} is not a torch file, or is damaged") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidModel(f"{path} cannot be read as a torch file: {error}") from error


def _choose(content: Any, entry: str, path: str | Path) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping):
        raise InvalidModel(f"{path} contains a {type(content).__name__}, a dict of weights is expected")
    is_bare = any(_is_weight(value) for value in content.values())
    chosen = content if is_bare and entry == "model" else content.get(entry)
    if not isinstance(chosen, Mapping) or not chosen:
        there = "the weights themselves" if is_bare else ", ".join(str(name) for name in content) or "nothing"
        raise InvalidModel(f"{path} has no weights under {entry!r}; it contains {there}")
    return chosen


def _is_weight(value: Any) -> bool:
    return isinstance(value, Tensor)


def _num_keypoints(weights: Mapping[str, Tensor], name: str) -> int:
    for key, more in SIZED_BY_KEYPOINTS:
        if key in weights and weights[key].dim() == 2 and len(weights[key]) > more:
            return len(weights[key]) - more
    wanted = " or ".join(key for key, _ in SIZED_BY_KEYPOINTS)
    raise InvalidModel(f"{name} is not a Click-Pose checkpoint: {wanted} is missing")


def _problems(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the problems; of several names of one weight, one is enough."""
    first: dict[str, str] = {}
    for name, weight in weights.items():
        twin = first.setdefault(twin_name(name), name)
        if name not in wanted:
            yield f"{name} is unknown"
        elif weight.shape != wanted[name].shape:
            yield f"{name} has shape {tuple(weight.shape)}, not {tuple(wanted[name].shape)}"
        elif not weight.isfinite().all():
            yield f"{name} contains numbers that are not finite"
        elif weights[twin].shape == weight.shape and not torch.equal(weight, weights[twin]):
            yield f"{name} differs from {twin}, which is the same weight"
    yield from (f"{name} is missing" for name in wanted if name == twin_name(name) and name not in first)
