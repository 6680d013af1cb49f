"""The whole image as a frame: pixels outside, fractions of its width and height in tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clickpose.annotations import Floats
from clickpose.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


@dataclass(frozen=True)
class ImageFrame:
    """Carries points and boxes of an image of ``size_wh`` pixels over to float32 tensors, and back."""

    size_wh: tuple[int, int]

    def points_to_frame(self, points_px: Floats) -> Tensor:
        """Return points ``(..., 2)``, given in pixels, as fractions."""
        return torch.as_tensor(points_px / np.asarray(self.size_wh, np.float32), dtype=torch.float32)

    def points_to_px(self, points: Tensor) -> Tensor:
        """Return points ``(..., 2)``, given as fractions, in pixels."""
        return points * torch.tensor(self.size_wh, device=points.device)

    def boxes_to_frame(self, boxes_px: Floats) -> Tensor:
        """Return ``xyxy`` boxes ``(..., 4)``, given in pixels, as ``cxcywh`` fractions."""
        corners = boxes_px / np.tile(np.asarray(self.size_wh, np.float32), 2)
        return xyxy_to_cxcywh(torch.as_tensor(corners, dtype=torch.float32))

    def boxes_to_px(self, boxes: Tensor) -> Tensor:
        """Return ``cxcywh`` boxes ``(..., 4)``, given as fractions, as ``xyxy`` in pixels."""
        return cxcywh_to_xyxy(boxes) * torch.tensor((*self.size_wh, *self.size_wh), device=boxes.device)

    def clip(self, boxes_px: Floats) -> Floats:
        """Cut ``xyxy`` boxes ``(..., 4)`` in pixels off at the edges of the image."""
        return np.clip(boxes_px, 0, np.tile(np.asarray(self.size_wh, np.float32), 2))
