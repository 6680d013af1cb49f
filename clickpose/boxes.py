"""Boxes as tensors. ``cxcywh``: centre and size; ``xyxy``: two corners. Normalised to the unpadded image."""

from __future__ import annotations

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """``(..., 4)`` centre and size to corners."""
    centre, size = boxes.chunk(2, -1)
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """``(..., 4)`` corners to centre and size."""
    first, last = boxes.chunk(2, -1)
    return torch.cat(((first + last) / 2, last - first), -1)


def generalized_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Generalised IoU of boxes ``(..., 4)`` that broadcast against each other; ``(...)`` in (-1, 1].

    Union and enclosing area carry the method's epsilon of 1e-6, so an empty box yields a number.
    """
    intersection = (
        (
            torch.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
            - torch.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
        )
        .clamp(min=0)
        .prod(-1)
    )
    hull = (
        (
            torch.maximum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
            - torch.minimum(boxes_xyxy[..., :2], others_xyxy[..., :2])
        )
        .clamp(min=0)
        .prod(-1)
    )
    union = _area(boxes_xyxy) + _area(others_xyxy) - intersection
    return intersection / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def extend_to_keypoints(boxes: Tensor, keypoints: Tensor) -> Tensor:
    """Extend, never shrink, ``cxcywh`` boxes ``(..., 4)`` until they contain their keypoints ``(..., K, 2)``."""
    corners = cxcywh_to_xyxy(boxes)
    first = torch.minimum(corners[..., :2], keypoints.amin(-2))
    last = torch.maximum(corners[..., 2:], keypoints.amax(-2))
    return xyxy_to_cxcywh(torch.cat((first, last), -1))


def _area(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(-1)
