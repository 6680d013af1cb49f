"""NanoDet-g (RangiLyu, 2021): a small one-stage detector of plain convolutions on a CSP backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_CLASSES = 80  # COCO's; 0 is a person
NUM_BINS = 11  # of the distribution of a distance, in units of the stride
STRIDES = (8, 16, 32)
WIDTH = 128  # channels of the pyramid


class Conv(nn.Conv2d):
    """A 3 x 3 convolution with folded batch norm, then LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h / stride, w / stride)``."""
        return F.leaky_relu(super().forward(x), 0.1, inplace=True)


class ResBlock(nn.Module):
    """Halve the channels, look once more, keep both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Conv(channels, channels // 2), Conv(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        first = self.first(x)
        return torch.cat((self.second(first), first), 1)


class CspStage(nn.Module):
    """Blocks beside a short cut (CSPNet): twice the channels come out."""

    def __init__(self, channels: int, num_blocks: int, stride: int) -> None:
        super().__init__()
        self.down = Conv(channels, channels, stride)
        self.blocks = nn.Sequential(*(ResBlock(channels) for _ in range(num_blocks)))
        self.mix = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, 2 C, h / stride, w / stride)``."""
        x = self.down(x)
        return torch.cat((self.mix(self.blocks(x)), x), 1)


class NanoDet(nn.Module):
    """Backbone, path aggregation, and one head per level; weights are folded and frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 32, stride=2)
        self.stages: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            (CspStage(32, 1, 1), CspStage(64, 2, 2), CspStage(128, 2, 2), CspStage(256, 3, 2))
        )
        self.lateral: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            nn.Conv2d(channels, WIDTH, 1) for channels in (128, 256, 512)
        )
        self.head_convs: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            Conv(WIDTH, WIDTH) for _ in STRIDES
        )
        self.heads: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            nn.Conv2d(WIDTH, NUM_CLASSES + 4 * NUM_BINS, 1) for _ in STRIDES
        )

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Detect in normalised BGR images ``(B, 3, H, W)``, H and W multiples of 32.

        Returns:
            For each stride 8, 16, 32: class logits ``(B, 80, h, w)`` and logits of the distances to the left, top,
            right and bottom edge of the box ``(B, 4, 11, h, w)``, in bins of one stride.
        """
        levels = self._aggregate(self._features(images))
        outputs = [head(conv(x)) for x, conv, head in zip(levels, self.head_convs, self.heads, strict=True)]
        return [(y[:, :NUM_CLASSES], y[:, NUM_CLASSES:].unflatten(1, (4, NUM_BINS))) for y in outputs]

    def _features(self, images: Tensor) -> list[Tensor]:
        x, features = F.max_pool2d(self.stem(images), 3, 2, 1), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1:]

    def _aggregate(self, features: list[Tensor]) -> list[Tensor]:
        """Add up the levels from coarse to fine and back (PANet); ``(B, 128, h, w)`` each."""
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.lateral, features, strict=True))
        middle = middle + _resize(coarse, 2)
        fine = fine + _resize(middle, 2)
        middle = middle + _resize(fine, 0.5)
        coarse = coarse + _resize(middle, 0.5)
        return [fine, middle, coarse]


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
