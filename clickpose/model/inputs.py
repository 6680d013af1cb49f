"""Images as the network takes them: scaled and normalised."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clickpose.model.config import ModelConfig

MIN_SIDE_PX = 32  # one cell of the coarsest backbone level


def to_tensor(image: Image.Image, model: ModelConfig, device: torch.device | None = None) -> Tensor:
    """Normalise an RGB image to ``(3, H, W)`` float32, on a device: bytes travel there, a quarter as many."""
    pixels = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(value, device=device) for value in (model.pixel_mean, model.pixel_std))
    return (pixels - mean[:, None, None]) / std[:, None, None]


def input_size(size_wh: tuple[int, int], short_side_px: int, long_side_px: int) -> tuple[int, int]:
    """Scale an image's (width, height) to the short side wanted, within the limit on the long side.

    An image so narrow that it would lose its last cell is widened to one.
    """
    short, long = min(size_wh), max(size_wh)
    side = short_side_px
    if long / short * side > long_side_px:
        side = round(long_side_px * short / long)
    width, height = (max(MIN_SIDE_PX, side if s == short else int(side * s / short)) for s in size_wh)
    return width, height
