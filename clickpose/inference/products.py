"""Matrix products and convolutions as fast as this processor can: weights laid out once for oneDNN where that pays.

PyTorch multiplies through MKL, which is slower than oneDNN on some processors, and hands small convolutions of one
thread to a plain loop. Which is faster is tried once a process; results differ by rounding only.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

logger = logging.getLogger(__name__)

LEAST_PRODUCTS = 2**22  # a smaller product takes less time than oneDNN takes to look up how to do it
LEAST_WIDTH = 16
ACTIVATIONS: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0, 6]),
}


class Product(nn.Module):
    """A linear layer with the ReLU after it, if any.

    Args:
        weight: ``(out, in)``.
        bias: ``(out,)``.
        relu: whether a ReLU follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.relu = relu
        wide = min(self.weight.shape) >= LEAST_WIDTH
        packs = wide and self.weight.device.type == "cpu" and packed_products_pay()
        self.packed = _pack_linear(self.weight) if packs else None

    @classmethod
    def of(cls, *linears: nn.Linear, relu: bool = False) -> Product:
        """Make one of linear layers with the same input, outputs side by side."""
        weights = torch.cat(tuple(linear.weight for linear in linears))
        return cls(weights, torch.cat(tuple(linear.bias for linear in linears)), relu=relu)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        if self.packed is not None and x.numel() * len(self.weight) >= LEAST_PRODUCTS:
            return _packed_linear(x, self.packed, self.bias, "relu" if self.relu else "none")
        y = F.linear(x, self.weight, self.bias)
        return y.relu_() if self.relu else y


class Convolution(nn.Module):
    """A convolution with whatever norm is folded into it and the activation after it, channels last.

    Args:
        conv: its shape; its weights unless others are given.
        weight: ``(out, in / groups, h, w)``.
        bias: ``(out,)`` or None.
        activation: "none", "relu" or "relu6".
    """

    def __init__(self, conv: nn.Conv2d, weight: Tensor, bias: Tensor | None, activation: str = "none") -> None:
        super().__init__()
        layout = torch.channels_last
        self.weight = nn.Parameter(weight.detach().contiguous(memory_format=layout), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.activation = activation
        packs = weight.device.type == "cpu" and packed_products_pay()
        self.pointwise = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
        pack = _pack_linear if self.pointwise else partial(_pack_convolution, shape=self.shape)
        self.packed = pack(self.weight) if packs else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, h, w)`` to ``(B, out, h', w')``."""
        x = x.contiguous(memory_format=torch.channels_last)  # nothing to do but for the picture itself
        if self.packed is not None and self.pointwise:  # as a convolution, its speed depends on the picture's size
            rows, columns = (slice(None, None, step) for step in self.shape[1])
            cells = x.permute(0, 2, 3, 1)[:, rows, columns]
            return _packed_linear(cells, self.packed, self.bias, self.activation).permute(0, 3, 1, 2)
        if self.packed is not None:
            return _packed_convolution(x, self.packed, self.bias, self.shape, self.activation)
        padding, stride, dilation, groups = self.shape
        y = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        if self.activation == "none":
            return y
        return y.relu_() if self.activation == "relu" else F.relu6(y, inplace=True)


@cache
def packed_products_pay() -> bool:
    """Try which way of multiplying is faster on this processor; a few milliseconds, once a process."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((1024, 256), (512, 256), (512,)))
    try:
        packed = _pack_linear(weight)
        ways: dict[str, Callable[[], Tensor]] = {
            "plain": lambda: F.linear(x, weight, bias),
            "packed": lambda: _packed_linear(x, packed, bias, "none"),
        }
        torch.testing.assert_close(ways["packed"](), ways["plain"](), atol=1e-3, rtol=1e-4)
        _try_convolution(generator)
    except (AttributeError, TypeError, RuntimeError, AssertionError) as error:
        logger.info("oneDNN's packed products cannot be used here: %s", error)
        return False
    return fastest(ways) == "packed"


def fastest(ways: Mapping[str, Callable[[], object]], repeats: int = 9) -> str:
    """Name the way whose best run is the fastest; they take turns, so that a busy machine is fair to all."""
    best_s = dict.fromkeys(ways, math.inf)
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best_s[name] = min(best_s[name], time.perf_counter() - start)
    return min(best_s, key=lambda name: best_s[name])


def _try_convolution(generator: torch.Generator) -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1)
    x = torch.randn(1, 16, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    with torch.no_grad():
        shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        answer = _packed_convolution(x, _pack_convolution(conv.weight, shape), conv.bias, shape, "relu")
        torch.testing.assert_close(answer, conv(x).relu(), atol=1e-4, rtol=1e-4)


# -- oneDNN as torch's own compiler calls it: one node with its activation, weights in the order oneDNN likes best


def _pack_linear(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().flatten(1).contiguous())  # type: ignore[no-any-return]


def _packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    name, limits = ACTIVATIONS[activation]
    return torch.ops.mkldnn._linear_pointwise.default(x, packed, bias, name, limits, "")  # type: ignore[no-any-return]


def _pack_convolution(weight: Tensor, shape: Sequence[object]) -> Tensor:
    return torch.ops.mkldnn._reorder_convolution_weight(weight.detach(), *shape)  # type: ignore[no-any-return]


def _packed_convolution(
    x: Tensor, packed: Tensor, bias: Tensor | None, shape: Sequence[object], activation: str
) -> Tensor:
    name, limits = ACTIVATIONS[activation]
    return torch.ops.mkldnn._convolution_pointwise.default(x, packed, bias, *shape, name, limits, "")  # type: ignore[no-any-return]
