"""A looker's maps as input of the pose layers, and deformable attention to them.

The published model projects every cell of its maps to values, once per image, and then samples values. A person's crop
has three thousand cells, and 18 tokens look at a few hundred places: here places are sampled first and projected
afterwards. Both steps are linear, so the answer is the same, for a tenth of the arithmetic and of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.first_guess.looker import MAP_CHANNELS
from clickpose.inference.sampling import sample_by_gather
from clickpose.model.attention import DeformableAttention
from clickpose.model.config import ModelConfig
from clickpose.model.sampling import LevelShapes

KEPT_SIZES = (48, 24, 16)  # cells per side that the maps are kept with; 233 KB per crop in half precision
NUM_GROUPS = 32  # of the published projection's group norm


@dataclass(frozen=True)
class Maps:
    """The maps of B crops, and how they are projected.

    Attributes:
        cells: per level ``(B, h * w, C + 1)``: channels, then a one, whose sample is the share that lies inside.
        shapes: (h, w) of each level.
        projection: ``(B, D, sum of C + 1)``, from samples of all levels side by side to the width of tokens.
        window: ``(B, 3)`` x and y of the first corner and side of the part of the crop that counts as the frame, in
            sides of the crop; None for all of it.
    """

    cells: tuple[Tensor, ...]
    shapes: LevelShapes
    projection: Tensor
    window: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Memory in use."""
        return sum(t.numel() * t.element_size() for t in (*self.cells, self.projection))

    def of_crop(self, index: int) -> Maps:
        """Return one crop's maps, still as a batch."""
        one = slice(index, index + 1)
        window = None if self.window is None else self.window[one]
        return Maps(tuple(c[one] for c in self.cells), self.shapes, self.projection[one], window)


def keep(map_: Tensor, size: int) -> Tensor:
    """Resample a looker's map ``(B, C, h, w)`` to ``(B, size, size, C)``, in half precision."""
    return resample(map_, size).half()


def resample(map_: Tensor, size: int) -> Tensor:
    """Resample a looker's map as ``keep`` does, in its own precision."""
    resampled = F.interpolate(map_, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return resampled.permute(0, 2, 3, 1)


def side_by_side(crops: Sequence[Maps]) -> Maps:
    """Join the maps of several crops to one batch."""
    if len(crops) == 1:
        return crops[0]
    cells = tuple(torch.cat(level) for level in zip(*(crop.cells for crop in crops), strict=True))
    return Maps(cells, crops[0].shapes, torch.cat([crop.projection for crop in crops]))


class MapProjection(nn.Module):
    """The published projection of each level, a 1 x 1 convolution and a group norm, as one matrix per crop."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.projections: Sequence[nn.Sequential] = nn.ModuleList(  # type: ignore[assignment]
            nn.Sequential(nn.Conv2d(channels, config.width, 1), nn.GroupNorm(NUM_GROUPS, config.width))
            for channels in MAP_CHANNELS
        )

    def forward(self, maps: Sequence[Tensor], window: Tensor | None = None) -> Maps:
        """Prepare maps ``(B, h, w, C)`` of three levels, any floating type, to be attended to."""
        cells = tuple(F.pad(map_.flatten(1, 2), (0, 1), value=1.0) for map_ in maps)
        parts = [_as_matrix(level, cell) for level, cell in zip(self.projections, cells, strict=True)]
        return Maps(cells, tuple((m.shape[1], m.shape[2]) for m in maps), torch.cat(parts, -1), window)


def _as_matrix(projection: nn.Sequential, cells: Tensor) -> Tensor:
    """Write convolution and norm as a matrix ``(B, D, C + 1)``; the norm's statistics come from the maps' moments."""
    convolution, norm = projection
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.GroupNorm) and convolution.bias is not None
    matrix = torch.cat((convolution.weight.flatten(1), convolution.bias[:, None]), 1)  # (D, C + 1)
    cells = cells.float()
    moments = cells.transpose(1, 2) @ cells / cells.shape[1]  # (B, C + 1, C + 1)
    mean = moments[:, -1] @ matrix.T  # (B, D)
    mean_square = ((matrix @ moments) * matrix).sum(-1)
    grouped = [value.unflatten(-1, (norm.num_groups, -1)).mean(-1) for value in (mean, mean_square)]
    deviation = (grouped[1] - grouped[0].square()).clamp(min=0).add(norm.eps).sqrt()
    centre, deviation = (g.repeat_interleave(matrix.shape[0] // norm.num_groups, -1) for g in (grouped[0], deviation))
    scale = norm.weight / deviation  # (B, D)
    constant = F.pad((norm.bias - centre * scale)[..., None], (matrix.shape[1] - 1, 0))
    projected: Tensor = scale[..., None] * matrix + constant
    return projected


class MapAttention(DeformableAttention):
    """Deformable attention that samples maps before it projects them; the weights are ``DeformableAttention``'s."""

    def forward(self, queries: Tensor, references: Tensor, values: Maps, shapes: LevelShapes) -> Tensor:  # type: ignore[override]
        """Attend from ``queries (B, Q, D)`` near ``references (B, Q, L, 4)`` to maps; ``(B, Q, D)``."""
        places = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(queries).unflatten(-1, (*places, 2))
        weights = self.attention_weights(queries).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        locations = self._locate(offsets, references[:, :, None, :, None], shapes)
        samples = self._sample(values, locations, weights.unflatten(-1, places[1:]))  # (B, Q H, sum of C + 1)
        tokens = (samples @ values.projection.transpose(1, 2)).unflatten(1, (-1, self.num_heads))
        inside = samples[..., _ones()].sum(-1).unflatten(1, (-1, self.num_heads))
        by_head = self.value_proj.weight.unflatten(0, (self.num_heads, -1))  # (H, D / H, D)
        projected = torch.einsum("bqhd,hcd->bqhc", tokens, by_head)
        bias = self.value_proj.bias.unflatten(0, (self.num_heads, -1))
        return self.output_proj((projected + inside[..., None] * bias).flatten(2))  # type: ignore[no-any-return]

    def _sample(self, maps: Maps, locations: Tensor, weights: Tensor) -> Tensor:
        """Sum samples of each level; every head looks at all channels."""
        if maps.window is not None:
            corner, side = maps.window[:, :2], maps.window[:, 2:]
            shape = (-1, 1, 1, 1, 1)
            locations = corner.view(*shape, 2) + locations * side.view(*shape, 1)
        locations, weights = (t.flatten(1, 2)[:, :, None] for t in (locations, weights))  # (B, Q H, 1, L, P, ...)
        levels = [
            sample_by_gather(cells[:, :, None], (shape,), locations[:, :, :, i : i + 1], weights[:, :, :, i : i + 1])
            for i, (cells, shape) in enumerate(zip(maps.cells, maps.shapes, strict=True))
        ]
        return torch.cat(levels, -1)


def _ones() -> list[int]:
    """Columns of the samples that are the share inside."""
    ends, total = [], 0
    for channels in MAP_CHANNELS:
        total += channels + 1
        ends.append(total - 1)
    return ends
