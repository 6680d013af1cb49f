"""MobileNetV2 (Sandler et al., CVPR 2018) with batch norm folded into its convolutions and TensorFlow's padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.inference.onednn import pack_convolution, packed_convolution

# Of each stage: expansion, channels at width 1, blocks, stride of the first block (table 2 of the paper).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
TOP_CHANNELS = 1280


def widen(channels: int, width: float) -> int:
    """Scale a number of channels and round it to a multiple of 8, losing a tenth at most."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME does: with stride 2, on the right and at the bottom only.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel: its side.
        stride: 1 or 2.
        depthwise: whether each channel is convolved by itself.
        activation: "none" or "relu6".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        depthwise: bool = False,
        activation: str = "none",
    ) -> None:
        groups = in_channels if depthwise else 1
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups)
        self.activation = activation
        self.packed: Tensor | None = None

    def pack(self) -> None:
        """Convolve through oneDNN from now on, with the weights that are loaded: a third faster with one thread."""
        self.packed = pack_convolution(self.weight, self._shape())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)``, h and w even, to ``(B, C', h / stride, w / stride)``."""
        x = x if self.stride == (1, 1) else F.pad(x, (0, 1, 0, 1))
        if self.packed is not None:
            return packed_convolution(x, self.packed, self.bias, self._shape(), self.activation)
        y = super().forward(x)
        return y if self.activation == "none" else F.relu6(y, inplace=True)

    def _shape(self) -> tuple[object, ...]:
        return self.padding, self.stride, self.dilation, self.groups


class InvertedResidual(nn.Module):
    """Expand, look at the neighbours channel by channel, project; added to the input where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = SameConv(in_channels, hidden, 1, activation="relu6") if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, 3, stride=stride, depthwise=True, activation="relu6")
        self.project = SameConv(hidden, out_channels, 1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h / stride, w / stride)``."""
        hidden = x if self.expand is None else self.expand(x)
        out: Tensor = self.project(self.depthwise(hidden))
        return out.add_(x) if self.is_residual else out


class MobileNetV2(nn.Module):
    """The backbone up to its last activation."""

    def __init__(self, width: float) -> None:
        super().__init__()
        channels = widen(32, width)
        self.stem = SameConv(3, channels, 3, stride=2, activation="relu6")
        stages: list[Sequence[nn.Module]] = []
        self.channels: list[int] = []
        for expansion, base, count, stride in STAGES:
            blocks = []
            for i in range(count):
                out = widen(base, width)
                blocks.append(InvertedResidual(channels, out, expansion=expansion, stride=stride if i == 0 else 1))
                channels = out
            stages.append(blocks)
            self.channels.append(channels)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.top = SameConv(channels, TOP_CHANNELS, 1, activation="relu6")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at stride 4, 8, 16 and 32 of images ``(B, 3, H, W)`` in [-1, 1]."""
        x, features = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return [features[1], features[2], features[3], self.top(x)]
