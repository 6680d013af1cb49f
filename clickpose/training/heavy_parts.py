"""How the heavy parts of a network run in training: in bfloat16, or once more in the backward pass to save memory.

Heavy are the stages of the backbone and the layers of encoder and decoder. What lies between them is light: heads,
references, positions, matching, losses. It stays in float32, since autocast ends where a heavy part does; so do the
places that deformable attention looks at inside one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clickpose.model import ClickPose
from clickpose.model.attention import DeformableAttention
from clickpose.model.sampling import LevelShapes

PRECISIONS = ("float32", "bfloat16")


def lighten(model: ClickPose, *, precision: str, checkpoint_activations: bool) -> None:
    """Change how a network runs, not what it computes; weights and their names stay.

    Args:
        model: changed in place. A copy of it runs in the same way.
        precision: of matrix products and convolutions in heavy parts, one of ``PRECISIONS``.
        checkpoint_activations: keep the inputs of heavy parts only, and run these again in the backward pass.
    """
    if precision == "float32" and not checkpoint_activations:
        return
    for part in _heavy_parts(model):
        part.forward = partial(_run_heavy, part, precision, checkpoint_activations)  # no closure: survives a copy
    for part in model.modules():
        if isinstance(part, DeformableAttention):
            part.forward = partial(_run_in_float32, part)  # type: ignore[method-assign]


def _heavy_parts(model: ClickPose) -> Iterator[nn.Module]:
    """Each takes what it takes and returns one tensor."""
    yield from (stage for stage in model.backbone.body.values() if any(True for _ in stage.parameters()))
    yield from model.projection.projections
    yield from model.encoder.layers
    yield from model.decoder.layers


def _run_heavy(part: nn.Module, precision: str, twice: bool, *args: Any, **kwargs: Any) -> Tensor:
    def forward(*args: Any, **kwargs: Any) -> Tensor:
        with _autocast(part, precision == "bfloat16"):
            output: Tensor = type(part).forward(part, *args, **kwargs)
        return output.float()

    if twice and torch.is_grad_enabled():
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    return forward(*args, **kwargs)


def _run_in_float32(
    part: DeformableAttention, queries: Tensor, references: Tensor, values: Tensor, shapes: LevelShapes
) -> Tensor:
    with _autocast(part, enabled=False):
        return DeformableAttention.forward(part, queries.float(), references, values.float(), shapes)


def _autocast(part: nn.Module, enabled: bool) -> torch.autocast:
    return torch.autocast(next(part.parameters()).device.type, torch.bfloat16, enabled=enabled)
