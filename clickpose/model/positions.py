"""Sine encodings of positions, and the inverse of the sigmoid that keeps coordinates in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

IMAGE_TEMPERATURE = 20.0
QUERY_TEMPERATURE = 10_000.0


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Logit of values in [0, 1], finite: both x and 1 - x are clamped to at least ``eps``."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def sine_encoding(position: Tensor, num_channels: int, temperature: float) -> Tensor:
    """Encode radians ``(...)`` as interleaved sines and cosines ``(..., num_channels)``."""
    channel = torch.arange(num_channels, dtype=torch.float32, device=position.device)
    period = temperature ** (2 * torch.div(channel, 2, rounding_mode="floor") / num_channels)
    angle = position[..., None] / period
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), -1).flatten(-2)


def image_encoding(padding: Tensor, width: int) -> Tensor:
    """Encode where each cell of a feature map lies, y before x.

    Args:
        padding: ``(B, h, w)`` bool, True where there is no image.
        width: D, channels of the result.

    Returns:
        ``(B, h, w, D)``; an image's rows and columns count 1..h and 1..w, scaled to (0, 2 pi].
    """
    inside = (~padding).float()
    y, x = inside.cumsum(1), inside.cumsum(2)
    y = y / (y[:, -1:] + 1e-6) * 2 * math.pi
    x = x / (x[:, :, -1:] + 1e-6) * 2 * math.pi
    return torch.cat([sine_encoding(p, width // 2, IMAGE_TEMPERATURE) for p in (y, x)], -1)


def box_encoding(boxes: Tensor, width: int) -> Tensor:
    """Encode ``cxcywh`` boxes ``(..., 4)`` in [0, 1] as ``(..., 2 D)``, in the order y, x, w, h."""
    angles = boxes * 2 * math.pi
    return torch.cat([sine_encoding(angles[..., i], width // 2, QUERY_TEMPERATURE) for i in (1, 0, 2, 3)], -1)
