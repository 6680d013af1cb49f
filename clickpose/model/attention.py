"""Multi-scale deformable attention (Deformable DETR, section 4.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clickpose.model.config import ModelConfig
from clickpose.model.sampling import LevelShapes, sample_by_grid


class DeformableAttention(nn.Module):
    """Each query looks at ``num_points`` learned places of every level, near its reference."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = (
            config.num_heads,
            config.num_levels,
            config.num_points,
        )
        places = config.num_heads * config.num_levels * config.num_points
        self.sampling_offsets = nn.Linear(config.width, places * 2)
        self.attention_weights = nn.Linear(config.width, places)
        self.value_proj = nn.Linear(config.width, config.width)
        self.output_proj = nn.Linear(config.width, config.width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with equal weights on the compass directions, each point one step further out."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        compass = torch.stack((angle.cos(), angle.sin()), -1)
        compass = compass / compass.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1).view(1, 1, -1, 1)
        offsets = compass.view(-1, 1, 1, 2) * steps.expand(-1, self.num_levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.data = offsets.flatten().clone()
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)

    def project_values(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        """Project ``(B, S, D)`` tokens to ``(B, S, H, D/H)`` values, zero on padding ``(B, S)``."""
        values: Tensor = self.value_proj(tokens)
        if padding is not None:
            values = values.masked_fill(padding[..., None], 0.0)
        split: Tensor = values.unflatten(-1, (self.num_heads, -1))
        return split

    def forward(self, queries: Tensor, references: Tensor, values: Tensor, shapes: LevelShapes) -> Tensor:
        """Attend.

        Args:
            queries: ``(B, Q, D)``.
            references: ``(B, Q, L, 2)`` points or ``(B, Q, L, 4)`` ``cxcywh`` boxes, in [0, 1] of the padded map.
            values: ``(B, S, H, D/H)`` from ``project_values``.
            shapes: (h, w) of each level.

        Returns:
            ``(B, Q, D)``.
        """
        places = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(queries).unflatten(-1, (*places, 2))
        weights = self.attention_weights(queries).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, places[1:])
        locations = self._locate(offsets, references[:, :, None, :, None], shapes)
        return self.output_proj(self.sample(values, shapes, locations, weights))  # type: ignore[no-any-return]

    def sample(self, values: Tensor, shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
        """Sum samples by weight; see ``sample_by_grid``."""
        return sample_by_grid(values, shapes, locations, weights)

    def _locate(self, offsets: Tensor, references: Tensor, shapes: LevelShapes) -> Tensor:
        """Place offsets in cells around points, in fractions of half a side around boxes.

        Steps and centres are expanded first: arithmetic on long rows is many times faster than on pairs.
        """
        if references.shape[-1] == 2:
            steps = references.new_tensor([[1 / w, 1 / h] for h, w in shapes])[:, None]
        else:
            steps = references[..., 2:] * (0.5 / self.num_points)
        places = offsets.shape[-3:]
        steps, centres = (t.expand(*t.shape[:-3], *places).flatten(-3) for t in (steps, references[..., :2]))
        located: Tensor = (offsets.flatten(-3) * steps + centres).unflatten(-1, places)
        return located
