"""Small blocks used by several parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, in_width: int, hidden_width: int, out_width: int, num_layers: int) -> None:
        super().__init__()
        widths = [in_width] + [hidden_width] * (num_layers - 1) + [out_width]
        self.layers: Sequence[nn.Linear] = nn.ModuleList(  # type: ignore[assignment]
            nn.Linear(a, b) for a, b in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_width)`` to ``(..., out_width)``."""
        *hidden, last = self.layers  # a slice would build a new ModuleList in every call
        for layer in hidden:
            x = F.relu(layer(x), inplace=True)
        return last(x)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """The residual block after attention: ``norm(x + linear2(relu(linear1(x))))``."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden_width)
        self.linear2 = nn.Linear(hidden_width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., D)``."""
        return self.norm(x + self.linear2(F.relu(self.linear1(x), inplace=True)))  # type: ignore[no-any-return]
