"""oneDNN as torch's own compiler calls it: one node with its activation, weights in oneDNN's layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ACTIVATIONS: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0, 6]),
}


def pack_linear(weight: Tensor) -> Tensor:
    """Lay out the weight ``(out, in)`` of a linear layer, or ``(out, in, 1, 1)`` of a pointwise convolution."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().flatten(1).contiguous())  # type: ignore[no-any-return]


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """Multiply ``(..., in)`` by a packed weight; ``activation`` is one of ``ACTIVATIONS``."""
    name, limits = ACTIVATIONS[activation]
    return torch.ops.mkldnn._linear_pointwise.default(x, packed, bias, name, limits, "")  # type: ignore[no-any-return]


def pack_convolution(weight: Tensor, shape: Sequence[object]) -> Tensor:
    """Lay out the weight of a convolution; ``shape`` is its padding, stride, dilation and groups."""
    return torch.ops.mkldnn._reorder_convolution_weight(weight.detach(), *shape)  # type: ignore[no-any-return]


def packed_convolution(
    x: Tensor, packed: Tensor, bias: Tensor | None, shape: Sequence[object], activation: str
) -> Tensor:
    """Convolve ``(B, in, h, w)`` with a packed weight; ``shape`` and ``activation`` as above."""
    name, limits = ACTIVATIONS[activation]
    return torch.ops.mkldnn._convolution_pointwise.default(x, packed, bias, *shape, name, limits, "")  # type: ignore[no-any-return]
