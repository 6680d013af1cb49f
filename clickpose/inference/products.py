"""Fast matrix products and convolutions: weights laid out once for oneDNN, if that is faster.

PyTorch multiplies through MKL, which is slower than oneDNN on some processors, and computes small convolutions of one
thread in a plain loop. ``choices.py`` measures which is faster; results differ by rounding only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.inference.onednn import pack_convolution, pack_linear, packed_convolution, packed_linear

MIN_PRODUCTS = 2**22  # a smaller product takes less time than oneDNN takes to look up how to do it
MIN_WIDTH = 16


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
        self.packed: Tensor | None = None

    @classmethod
    def of(cls, *linears: nn.Linear, relu: bool = False) -> Product:
        """Make one of linear layers with the same input, outputs side by side."""
        weights = torch.cat(tuple(linear.weight for linear in linears))
        return cls(weights, torch.cat(tuple(linear.bias for linear in linears)), relu=relu)

    def pack(self) -> None:
        """Multiply through oneDNN from now on."""
        if min(self.weight.shape) >= MIN_WIDTH:
            self.packed = pack_linear(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        if self.packed is not None and x.numel() * len(self.weight) >= MIN_PRODUCTS:
            return packed_linear(x, self.packed, self.bias, "relu" if self.relu else "none")
        y = F.linear(x, self.weight, self.bias)
        return y.relu_() if self.relu else y


class Convolution(nn.Module):
    """A convolution with its norm folded in and the activation after it, channels last.

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
        self.pointwise = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
        self.packed: Tensor | None = None

    def pack(self) -> None:
        """Convolve through oneDNN from now on."""
        self.packed = pack_linear(self.weight) if self.pointwise else pack_convolution(self.weight, self.shape)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, h, w)`` to ``(B, out, h', w')``."""
        x = x.contiguous(memory_format=torch.channels_last)  # nothing to do but for the image itself
        if self.packed is not None and self.pointwise:  # as a convolution, its speed depends on the image's size
            rows, columns = (slice(None, None, step) for step in self.shape[1])
            cells = x.permute(0, 2, 3, 1)[:, rows, columns]
            return packed_linear(cells, self.packed, self.bias, self.activation).permute(0, 3, 1, 2)
        if self.packed is not None:
            return packed_convolution(x, self.packed, self.bias, self.shape, self.activation)
        padding, stride, dilation, groups = self.shape
        y = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        if self.activation == "none":
            return y
        return y.relu_() if self.activation == "relu" else F.relu6(y, inplace=True)
