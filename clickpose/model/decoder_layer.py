"""One layer of either decoder, and how its queries see each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

from clickpose.model.attention import DeformableAttention
from clickpose.model.config import ModelConfig
from clickpose.model.layers import FeedForward
from clickpose.model.sampling import LevelShapes

Attend: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""How queries see each other: self-attention, its queries (and keys), its values; returns ``(B, Q, D)``."""


class DecoderLayer(nn.Module):
    """Self-attention among queries, deformable attention to the image, feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(config.width, config.num_heads, batch_first=True)
        self.self_attention_norm = nn.LayerNorm(config.width)
        self.cross_attention = DeformableAttention(config)
        self.cross_attention_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.ffn_width)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        references: Tensor,
        values: Tensor,
        shapes: LevelShapes,
        attend: Attend,
    ) -> Tensor:
        """Decode one layer.

        Args:
            x: ``(B, Q, D)`` queries.
            positions: ``(B, Q, D)`` their encoded references.
            references: ``(B, Q, L, 4)`` their boxes on each level.
            values: ``(B, S, H, D/H)``.
            shapes: (h, w) of each level.
            attend: how queries see each other.
        """
        x = self.self_attention_norm(x + attend(self.self_attention, x + positions, x))
        x = self.cross_attention_norm(x + self.cross_attention(x + positions, references, values, shapes))
        return self.feed_forward(x)  # type: ignore[no-any-return]


def attend_to_all(attention: nn.Module, query: Tensor, value: Tensor) -> Tensor:
    """Let every query ``(B, Q, D)`` see every other."""
    return attention(query, query, value, need_weights=False)[0]  # type: ignore[no-any-return]


def attend_within_groups(attention: nn.Module, query: Tensor, value: Tensor, *, group: int) -> Tensor:
    """Let every query ``(B, Q, D)`` see those of its own group of G, the groups following one another."""
    by_group = (t.reshape(-1, group, t.shape[-1]) for t in (query, value))
    return attend_to_all(attention, *by_group).reshape(query.shape)
