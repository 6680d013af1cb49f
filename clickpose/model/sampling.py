"""Bilinear sampling of multi-scale values: the inner loop of deformable attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

LevelShapes: TypeAlias = tuple[tuple[int, int], ...]


def sample_by_grid(values: Tensor, shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sum bilinear samples of every level; outside the map is zero.

    Args:
        values: ``(B, S, H, C)`` projected tokens of all levels, one after another.
        shapes: (h, w) of each of the L levels.
        locations: ``(B, Q, H, L, P, 2)`` x, y in [0, 1] of the padded map, edge to edge.
        weights: ``(B, Q, H, L, P)`` attention weights.

    Returns:
        ``(B, Q, H * C)``.
    """
    batch, _, heads, channels = values.shape
    grid = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (L, B*H, Q, P, 2)
    sampled = []
    for level, tokens in enumerate(values.split([h * w for h, w in shapes], 1)):
        planes = tokens.permute(0, 2, 3, 1).reshape(batch * heads, channels, *shapes[level])
        sampled.append(F.grid_sample(planes, grid[level], mode="bilinear", padding_mode="zeros", align_corners=False))
    by_head = weights.transpose(1, 2).flatten(0, 1).flatten(-2)[:, None]  # (B*H, 1, Q, L*P)
    total = (torch.cat(sampled, -1) * by_head).sum(-1)  # (B*H, C, Q)
    return total.view(batch, heads * channels, -1).transpose(1, 2)


Sampler: TypeAlias = Callable[[Tensor, LevelShapes, Tensor, Tensor], Tensor]
_samplers: dict[str, Sampler] = {}


def register_sampler(device_type: str, sampler: Sampler) -> None:
    """Let a faster, numerically equal ``sampler`` serve all float32 tensors on ``device_type``."""
    _samplers[device_type] = sampler


def lay_out(values: Tensor) -> Tensor:
    """Return equal values ``(B, S, H, C)`` in the order in memory in which ``sample`` reads them without a copy.

    Values that several calls sample would be copied for each, and all copies kept for the backward pass.
    """
    if values.dtype == torch.float32 and values.device.type in _samplers:
        return values  # rows of channels
    return values.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # planes of heads and channels


def sample(values: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Sample by the fastest registered way; arguments and result as in ``sample_by_grid``."""
    sampler = _samplers.get(values.device.type, sample_by_grid) if values.dtype == torch.float32 else sample_by_grid
    return sampler(values, tuple(shapes), locations, weights)
