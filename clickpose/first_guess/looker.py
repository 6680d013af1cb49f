"""Feature maps for the pose layers, and a first pose, from one person's square crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from clickpose.first_guess.movenet import NUM_KEYPOINTS, PYRAMID, read_pose

HEAT_SCALE = 0.3  # brings the heat maps' logits to the range of the features
MAP_CHANNELS = (PYRAMID[0] + NUM_KEYPOINTS, PYRAMID[1], PYRAMID[2])
WIDTHS = {"thunder": 1.75, "lightning": 1.0}
CROP_PX = {"thunder": 256, "lightning": 192}


@dataclass(frozen=True)
class Look:
    """A looker's output for B crops.

    Attributes:
        maps: at stride 4, 8 and 16: ``(B, 41, h, w)`` features and heat maps, then features ``(B, 24, h/2, w/2)``
            and ``(B, 32, h/4, w/4)``.
        keypoints: ``(B, 17, 2)`` x, y of the first pose in [0, 1] of the crop, COCO's keypoints.
        heat: ``(B, 17)`` in [0, 1], the looker's own confidence.
    """

    maps: tuple[Tensor, Tensor, Tensor]
    keypoints: Tensor
    heat: Tensor


class MoveNetLooker:
    """Looks at crops with MoveNet.

    Args:
        network: with its weights, in evaluation mode, in any precision.
        crop_px: side of the crops it takes.
        trained_further: what tells its weights from others; empty for the packaged ones.
    """

    def __init__(self, network: nn.Module, crop_px: int, trained_further: str = "") -> None:
        self.network, self.crop_px, self.trained_further = network, crop_px, trained_further
        weight = next(network.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    @torch.inference_mode()
    def __call__(self, crops: list[Image.Image]) -> Look:
        """Look at RGB crops of ``crop_px`` x ``crop_px`` pixels, all in one batch."""
        return look(self.network, to_tensor(crops).to(self.device, self.dtype))


def look(network: nn.Module, pixels: Tensor) -> Look:
    """Look at ``pixels (B, 3, S, S)`` in 0..255 with MoveNet; gradients reach the maps, but not the keypoints."""
    output = network(pixels).float()
    with torch.no_grad():
        pose = read_pose(output)
    fine, middle, coarse = output.pyramid
    finest = torch.cat((fine, output.heatmaps * HEAT_SCALE), 1)
    return Look((finest, middle, coarse), pose[..., :2], pose[..., 2])


def to_tensor(crops: list[Image.Image]) -> Tensor:
    """Stack RGB crops to ``(B, 3, S, S)`` float32 in 0..255, channels last in memory."""
    return torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])).permute(0, 3, 1, 2).float()
