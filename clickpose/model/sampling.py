"""Bilinear sampling of multi-scale values: the inner loop of deformable attention."""

from __future__ import annotations

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
