"""One-to-one matching of predictions to persons (section 7.3 of the method)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from clickpose.boxes import cxcywh_to_xyxy, generalized_iou
from clickpose.model.decoder import LayerOutput
from clickpose.model.proposals import PERSON_CLASS
from clickpose.training.targets import Target

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
CLASS_COST, BOX_COST, IOU_COST, KEYPOINT_COST, OKS_COST = 2.0, 5.0, 2.0, 10.0, 4.0
MIN_OKS = 1e-6


@dataclass(frozen=True)
class Match:
    """Pairs over a whole batch, ordered by picture: prediction ``slot`` of ``image`` is person ``person``.

    Attributes:
        image: ``(M,)`` int64.
        slot: ``(M,)`` int64.
        person: ``(M,)`` int64, index among the persons of that picture.
    """

    image: Tensor
    slot: Tensor
    person: Tensor

    def gather(self, targets: Sequence[Target]) -> Target:
        """Line up the matched persons: one target of M persons."""
        pairs = list(zip(self.image.tolist(), self.person.tolist(), strict=True))
        if not pairs:
            empty = targets[0]
            return Target(empty.boxes[:0], empty.keypoints[:0], empty.labelled[:0], empty.areas[:0])
        return Target(
            torch.stack([targets[i].boxes[j] for i, j in pairs]),
            torch.stack([targets[i].keypoints[j] for i, j in pairs]),
            torch.stack([targets[i].labelled[j] for i, j in pairs]),
            torch.stack([targets[i].areas[j] for i, j in pairs]),
        )


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
    distance = ((keypoints - truth) ** 2).sum(-1)
    similarity = torch.exp(-distance / (2 * areas[..., None] * (2 * sigmas) ** 2))
    return (similarity * labelled).sum(-1) / (labelled.sum(-1) + 1e-6)


@torch.no_grad()
def match(output: LayerOutput, targets: Sequence[Target], sigmas: Tensor) -> Match:
    """Match each person to the prediction that costs least in sum; N may be smaller than n.

    Layers without keypoints, or whose keypoints are all zero, are matched by their boxes, the others by keypoints.
    """
    by_box = output.keypoints is None or output.keypoints.sum() == 0
    rows: list[tuple[int, int, int]] = []
    for i, target in enumerate(targets):
        cost = CLASS_COST * class_cost(output.logits[i, :, PERSON_CLASS])[:, None]
        if by_box:
            cost = cost + box_cost(output.boxes[i], target)
        else:
            assert output.keypoints is not None
            cost = cost + keypoint_cost(output.keypoints[i], target, sigmas)
        slots, persons = linear_sum_assignment(cost.expand(-1, len(target)).cpu().numpy())
        rows += [(i, int(slot), int(person)) for slot, person in zip(slots, persons, strict=True)]
    pairs = torch.tensor(rows, dtype=torch.int64, device=output.logits.device).reshape(-1, 3)
    return Match(pairs[:, 0], pairs[:, 1], pairs[:, 2])


def class_cost(logits: Tensor) -> Tensor:
    """Focal cost of calling each prediction a person; ``(N,)`` to ``(N,)``."""
    p = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * -(p + 1e-8).log()
    negative = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * -(1 - p + 1e-8).log()
    return positive - negative


def box_cost(boxes: Tensor, target: Target) -> Tensor:
    """L1 and generalised IoU between ``(N, 4)`` and the n persons; ``(N, n)``."""
    overlap = generalized_iou(cxcywh_to_xyxy(boxes)[:, None], cxcywh_to_xyxy(target.boxes))
    return BOX_COST * torch.cdist(boxes, target.boxes, p=1) - IOU_COST * overlap


def keypoint_cost(keypoints: Tensor, target: Target, sigmas: Tensor) -> Tensor:
    """L1 over labelled keypoints and OKS between ``(N, K, 2)`` and the n persons; ``(N, n)``."""
    distance = ((keypoints[:, None] - target.keypoints).abs().sum(-1) * target.labelled).sum(-1)
    oks = object_keypoint_similarity(keypoints[:, None], target.keypoints, target.labelled, target.areas, sigmas)
    return KEYPOINT_COST * distance + OKS_COST * (1 - oks.clamp(min=MIN_OKS))
