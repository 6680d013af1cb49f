"""The blocks between attention, and the encoder's layer, as inference runs them."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from clickpose.inference.attention import GatheringAttention
from clickpose.inference.products import Product
from clickpose.model.encoder import EncoderLayer, Tokens
from clickpose.model.layers import MLP, FeedForward

TOKENS_AT_ONCE = 4096  # whose feed-forward activations stay in a processor's cache


def mlp(block: MLP) -> nn.Module:
    """Rewrite linear layers with ReLU between them."""
    *first, last = block.layers
    return nn.Sequential(*(Product.of(linear, relu=True) for linear in first), Product.of(last))


class FusedFeedForward(nn.Module):
    """``FeedForward`` whose ReLU belongs to the product before it."""

    def __init__(self, block: FeedForward) -> None:
        super().__init__()
        self.linear1, self.linear2 = Product.of(block.linear1, relu=True), Product.of(block.linear2)
        self.norm = block.norm

    def forward(self, x: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., D)``."""
        return self.norm(self.linear2(self.linear1(x)).add_(x))  # type: ignore[no-any-return]


class PartwiseEncoderLayer(nn.Module):
    """``EncoderLayer`` that processes tokens in chunks; only values are shared."""

    def __init__(self, layer: EncoderLayer) -> None:
        super().__init__()
        self.attention = GatheringAttention(layer.attention)
        self.norm = layer.norm
        self.feed_forward = FusedFeedForward(layer.feed_forward)
        self.at_once = TOKENS_AT_ONCE if self.norm.weight.device.type == "cpu" else sys.maxsize

    def forward(self, tokens: Tokens, positions: Tensor, references: Tensor) -> Tensor:
        """Refine the last ``Q`` tokens, Q being the length of ``positions (B, Q, D)``; ``(B, Q, D)``."""
        x = tokens.content[:, -positions.shape[1] :]
        values = self.attention.project_values(tokens.content, tokens.padding)
        refined = []
        for first in range(0, x.shape[1], self.at_once):
            part = slice(first, first + self.at_once)
            looking = x[:, part] + positions[:, part]
            attended = self.attention(looking, references[:, part], values, tokens.shapes)
            refined.append(self.feed_forward(self.norm(attended.add_(x[:, part]))))
        return torch.cat(refined, 1)
