"""MoveNet (Google, 2021): one person's pose from a square crop, as offsets and heat maps on a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.first_guess.mobilenet import TOP_CHANNELS, MobileNetV2

NUM_KEYPOINTS = 17  # COCO's
PYRAMID = (24, 24, 32)  # channels at stride 4, 8, 16
HEAD_WIDTH = 96
PIXEL_SCALE = 0.007843017578125  # 2 / 255 in the half precision that the weights came in
DISTANCE_BIAS = 1.8  # cells: how gently a head's scores fall off with distance


@dataclass(frozen=True)
class MoveNetOutput:
    """Raw maps of B crops; heads have stride 4.

    Attributes:
        pyramid: features ``(B, 24, h, w)``, ``(B, 24, h/2, w/2)`` and ``(B, 32, h/4, w/4)``.
        center: ``(B, 1, h, w)`` logits of a person's centre.
        heatmaps: ``(B, 17, h, w)`` logits of each keypoint.
        regressed: ``(B, 34, h, w)`` y, x in cells from this cell to each keypoint, if a person's centre lies here.
        offsets: ``(B, 34, h, w)`` y, x in cells from this cell to each keypoint, if the keypoint lies here.
    """

    pyramid: tuple[Tensor, Tensor, Tensor]
    center: Tensor
    heatmaps: Tensor
    regressed: Tensor
    offsets: Tensor

    def float(self) -> MoveNetOutput:
        """Return the same maps in float32."""
        fine, middle, coarse = (map_.float() for map_ in self.pyramid)
        heads = (head.float() for head in (self.center, self.heatmaps, self.regressed, self.offsets))
        return MoveNetOutput((fine, middle, coarse), *heads)


class SeparableConv(nn.Module):
    """A depthwise 3 x 3 and a pointwise convolution, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h, w)``."""
        return F.relu(self.pointwise(self.depthwise(x)), inplace=True)


class Head(nn.Sequential):
    """One dense prediction on the finest map."""

    def __init__(self, out_channels: int) -> None:
        super().__init__(SeparableConv(PYRAMID[0], HEAD_WIDTH), nn.Conv2d(HEAD_WIDTH, out_channels, 1))


class MoveNet(nn.Module):
    """A backbone, a feature pyramid and four heads; weights are folded and frozen."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.backbone = MobileNetV2(width)
        channels = self.backbone.channels
        sources, wide = (channels[1], channels[2], channels[3]), (24, 32, 64)  # at stride 4, 8, 16
        self.lateral: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            nn.Conv2d(source, out, 1) for source, out in zip(sources, wide, strict=True)
        )
        self.top = nn.Conv2d(TOP_CHANNELS, wide[-1], 1)
        self.smooth: Sequence[nn.Module] = nn.ModuleList(  # type: ignore[assignment]
            SeparableConv(a, b) for a, b in zip(wide, PYRAMID, strict=True)
        )
        self.center, self.heatmaps = Head(1), Head(NUM_KEYPOINTS)
        self.regressed, self.offsets = Head(2 * NUM_KEYPOINTS), Head(2 * NUM_KEYPOINTS)

    def forward(self, crops: Tensor) -> MoveNetOutput:
        """Look at RGB crops ``(B, 3, S, S)`` in 0..255, S a multiple of 32."""
        *features, top = self.backbone(crops * PIXEL_SCALE - 1)
        x, pyramid = self.top(top), []
        for feature, lateral, smooth in reversed(list(zip(features, self.lateral, self.smooth, strict=True))):
            x = smooth(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False) + lateral(feature))
            pyramid.append(x)
        coarse, middle, fine = pyramid
        heads = (self.center(fine), self.heatmaps(fine), self.regressed(fine), self.offsets(fine))
        return MoveNetOutput((fine, middle, coarse), *heads)


def read_pose(output: MoveNetOutput) -> Tensor:
    """Return the pose of the person nearest the middle of each crop, as MoveNet reads its own maps.

    Returns:
        ``(B, 17, 3)``: x and y in [0, 1] of the crop, and the keypoint's heat in [0, 1].
    """
    size = output.center.shape[-1]
    middle = torch.full((output.center.shape[0], 1, 2), size / 2, device=output.center.device)
    centre = _best_cell(output.center.sigmoid(), middle)  # (B, 1, 2)
    expected = centre + _at(output.regressed, centre.expand(-1, NUM_KEYPOINTS, -1))
    heat = output.heatmaps.sigmoid()
    cells = _best_cell(heat, expected)
    yx = (cells + _at(output.offsets, cells)) / size
    return torch.cat((yx.flip(-1), _pick(heat, cells)[..., None]), -1)


def _best_cell(heat: Tensor, expected: Tensor) -> Tensor:
    """Find the hottest cell near where one is expected: ``(B, C, h, w)`` and ``(B, C, 2)`` y, x to ``(B, C, 2)``."""
    size = heat.shape[-1]
    rows = torch.arange(size, device=heat.device, dtype=heat.dtype)
    y, x = (rows - expected[..., :1]).square(), (rows - expected[..., 1:]).square()  # (B, C, size)
    distance = (y[..., :, None] + x[..., None, :]).sqrt()
    best = (heat / (distance + DISTANCE_BIAS)).flatten(2).argmax(-1)
    return torch.stack((best // size, best % size), -1).to(heat.dtype)


def _at(pairs: Tensor, cells: Tensor) -> Tensor:
    """Read interleaved y, x maps ``(B, 2 C, h, w)`` at each channel's own cell ``(B, C, 2)``; ``(B, C, 2)``."""
    y, x = pairs[:, 0::2], pairs[:, 1::2]
    return torch.stack((_pick(y, cells), _pick(x, cells)), -1)


def _pick(maps: Tensor, cells: Tensor) -> Tensor:
    index = (cells[..., 0] * maps.shape[-1] + cells[..., 1]).long()
    return maps.flatten(2).gather(2, index[..., None]).squeeze(-1)
