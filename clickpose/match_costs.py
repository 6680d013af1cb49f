"""The cost of matching a prediction to a person: in training, and in the published evaluation (section 7.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from clickpose.boxes import cxcywh_to_xyxy, generalized_iou
from clickpose.oks import exponent

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
CLASS_COST, BOX_COST, IOU_COST, KEYPOINT_COST, OKS_COST = 2.0, 5.0, 2.0, 10.0, 4.0
MIN_OKS = 1e-6


def class_cost(scores: Tensor) -> Tensor:
    """Focal cost of calling each prediction a person, from its score in [0, 1]; times ``CLASS_COST`` in a match."""
    positive = FOCAL_ALPHA * (1 - scores) ** FOCAL_GAMMA * -(scores + 1e-8).log()
    negative = (1 - FOCAL_ALPHA) * scores**FOCAL_GAMMA * -(1 - scores + 1e-8).log()
    return positive - negative


def box_cost(boxes: Tensor, truth: Tensor) -> Tensor:
    """L1 and generalised IoU between boxes ``cxcywh``, ``(N, 4)`` and ``(n, 4)``; ``(N, n)``."""
    overlap = generalized_iou(cxcywh_to_xyxy(boxes)[:, None], cxcywh_to_xyxy(truth))
    return BOX_COST * torch.cdist(boxes, truth, p=1) - IOU_COST * overlap


def keypoint_cost(keypoints: Tensor, truth: Tensor, labelled: Tensor, areas: Tensor, sigmas: Tensor) -> Tensor:
    """L1 over labelled keypoints, and OKS, between poses and persons in normalised coordinates.

    Args:
        keypoints: ``(N, K, 2)``.
        truth: ``(n, K, 2)``.
        labelled: ``(n, K)`` 0 or 1.
        areas: ``(n,)``.
        sigmas: ``(K,)``.

    Returns:
        ``(N, n)``.
    """
    distance = ((keypoints[:, None] - truth).abs().sum(-1) * labelled).sum(-1)
    oks = object_keypoint_similarity(keypoints[:, None], truth, labelled, areas, sigmas)
    return KEYPOINT_COST * distance + OKS_COST * (1 - oks.clamp(min=MIN_OKS))


def object_keypoint_similarity(
    keypoints: Tensor, truth: Tensor, labelled: Tensor, areas: Tensor, sigmas: Tensor
) -> Tensor:
    """OKS in normalised coordinates, the aspect ratio ignored as published.

    Args:
        keypoints: ``(..., K, 2)``.
        truth: ``(..., K, 2)``.
        labelled: ``(..., K)`` 0 or 1.
        areas: ``(...)``.
        sigmas: ``(K,)``.

    Returns:
        ``(...)`` in [0, 1]; 0 where nothing is labelled.
    """
    similarity = torch.exp(-exponent(((keypoints - truth) ** 2).sum(-1), areas[..., None], sigmas))
    return (similarity * labelled).sum(-1) / (labelled.sum(-1) + 1e-6)
