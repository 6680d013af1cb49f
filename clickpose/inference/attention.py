"""Both kinds of attention, in as few operations as possible."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.inference.products import Product
from clickpose.inference.sampling import gather, table_layout
from clickpose.model.attention import DeformableAttention
from clickpose.model.sampling import LevelShapes, sample_by_grid


class QueryAttention(nn.Module):
    """``nn.MultiheadAttention`` for keys that are the queries, and values that are not."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, width = attention.num_heads, attention.embed_dim
        self.query_key = Product(attention.in_proj_weight[: 2 * width], attention.in_proj_bias[: 2 * width])
        self.value = Product(attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
        self.output = Product.of(attention.out_proj)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, attn_mask: None = None, need_weights: bool = False
    ) -> tuple[Tensor, None]:
        """Attend among ``(B, Q, D)``, all to all."""
        assert key is query and attn_mask is None and not need_weights
        parts = (*self.query_key(query).chunk(2, -1), self.value(value))
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.output(attended.transpose(1, 2).flatten(2)), None


class GatheringAttention(nn.Module):
    """``DeformableAttention`` with one product for places and weights, and places in units of cells."""

    def __init__(self, attention: DeformableAttention) -> None:
        super().__init__()
        self.places = (attention.num_heads, attention.num_levels, attention.num_points)
        self.places_and_weights = Product.of(attention.sampling_offsets, attention.attention_weights)
        self.value_proj = Product.of(attention.value_proj)
        self.output_proj = Product.of(attention.output_proj)
        self.gathers = True

    def project_values(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        """Project as ``DeformableAttention`` does."""
        values: Tensor = self.value_proj(tokens)
        if padding is not None:
            values = values.masked_fill(padding[..., None], 0.0)
        split: Tensor = values.unflatten(-1, (self.places[0], -1))
        return split

    def forward(self, queries: Tensor, references: Tensor, values: Tensor, shapes: LevelShapes) -> Tensor:
        """Attend as ``DeformableAttention`` does."""
        heads, levels, points = self.places
        asked = self.places_and_weights(queries)
        offsets, weights = asked.split([heads * levels * points * 2, heads * levels * points], -1)
        weights = weights.unflatten(-1, (heads, -1)).softmax(-1).unflatten(-1, (levels, points))
        layout = table_layout(shapes, *self.places[::2], queries.device)
        cells = self._locate(offsets, references, layout.sizes_wh[:, 0])
        if self.gathers:
            return self.output_proj(gather(values, layout, cells, weights))  # type: ignore[no-any-return]
        locations = (cells + 0.5) / layout.sizes_wh
        return self.output_proj(sample_by_grid(values.to(weights.dtype), shapes, locations, weights))  # type: ignore[no-any-return]

    def _locate(self, offsets: Tensor, references: Tensor, sizes_wh: Tensor) -> Tensor:
        """Place offsets ``(B, Q, H L P 2)`` around points in cells, around boxes in fractions of half a side."""
        heads, _, points = self.places
        offsets = offsets.unflatten(-1, (heads, -1))  # rows of L P 2, as reading pairs takes longer
        centre = (references[..., :2] * sizes_wh - 0.5).repeat_interleave(points, 2).flatten(2)[:, :, None]
        if references.shape[-1] == 2:
            cells = centre + offsets
        else:
            step = (references[..., 2:] * sizes_wh * (0.5 / points)).repeat_interleave(points, 2).flatten(2)
            cells = torch.addcmul(centre, offsets, step[:, :, None])
        placed: Tensor = cells.unflatten(-1, (*self.places[1:], 2))
        return placed
