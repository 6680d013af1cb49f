"""Losses of every supervised layer (section 7.4 of the method)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from clickpose.boxes import cxcywh_to_xyxy, generalized_iou
from clickpose.errors import InvalidConfig
from clickpose.match_costs import FOCAL_ALPHA, FOCAL_GAMMA, MIN_OKS, object_keypoint_similarity
from clickpose.model.decoder import LayerOutput
from clickpose.model.proposals import PERSON_CLASS
from clickpose.training.denoising import DenoisingQueries
from clickpose.training.matcher import match
from clickpose.training.output import TrainingOutput
from clickpose.training.targets import Target

SCORE_TARGETS = ("person", "oks")
DENOISING_DIVISORS = ("queries", "batch")
LOSSES = ("class", "box", "giou", "keypoints", "oks")
DENOISING_LOSSES = ("class", "box", "giou", "keypoints")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, and the meaning of a score.

    Attributes:
        weights: of each loss of a real layer.
        denoising_weights: of each loss of a noised layer.
        score_target: "person": a matched query is a person, as published (focal loss). "oks": its score tells how
            good its pose is, which ranks hypotheses (varifocal loss on pose layers).
        denoising_divisor: "queries": sums over the batch are divided by M, as published, so that noise weighs more in
            larger batches. "batch": by M times the images of the batch.
    """

    weights: dict[str, float] = field(
        default_factory=lambda: {"class": 2.0, "box": 5.0, "giou": 2.0, "keypoints": 10.0, "oks": 4.0}
    )
    denoising_weights: dict[str, float] = field(
        default_factory=lambda: {"class": 0.3, "box": 2.5, "giou": 1.0, "keypoints": 5.0}
    )
    score_target: str = "person"
    denoising_divisor: str = "queries"

    def __post_init__(self) -> None:
        """Check the choices, and that there is a weight for each loss."""
        for name, known in (("score_target", SCORE_TARGETS), ("denoising_divisor", DENOISING_DIVISORS)):
            if getattr(self, name) not in known:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}, must be one of {', '.join(known)}")
        for name, losses in (("weights", LOSSES), ("denoising_weights", DENOISING_LOSSES)):
            weights = getattr(self, name)
            if missing := [loss for loss in losses if loss not in weights]:
                raise InvalidConfig(f"{name} lack {', '.join(missing)}")
            if unknown := [loss for loss in weights if loss not in losses]:
                raise InvalidConfig(f"{name} name the unknown loss {', '.join(unknown)}")


def total_loss(
    output: TrainingOutput,
    targets: Sequence[Target],
    sigmas: Tensor,
    config: LossConfig,
    num_persons: float | None = None,
    num_images: int | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weigh and add the losses of all layers.

    Args:
        output: of ``training_forward``.
        targets: one per image.
        sigmas: ``(K,)``.
        config: weights.
        num_persons: persons in the batch, averaged over processes; counted here if None.
        num_images: images in the batch, if this is only a part of it.

    Returns:
        The scalar to differentiate, and the unweighted losses of the last layer by name, for logs.
    """
    count = max(float(sum(len(t) for t in targets)) if num_persons is None else num_persons, 1.0)
    real = [output.proposals, *output.layers, *output.feedback]
    per_layer = [layer_losses(layer, targets, sigmas, count, config.score_target) for layer in real]
    total = sum((_weigh(losses, config.weights) for losses in per_layer), start=torch.zeros((), device=sigmas.device))
    logs = {name: value.detach() for name, value in per_layer[len(output.layers)].items()}
    if output.denoising is not None:
        noised = [denoising_losses(layer, output.denoising) for layer in output.denoised]
        divisor = (num_images or len(targets)) if config.denoising_divisor == "batch" else 1
        total = total + sum(_weigh(losses, config.denoising_weights) for losses in noised) / divisor
    if output.feedback:
        logs |= {f"feedback_{name}": value.detach() for name, value in per_layer[-1].items()}
    return total, logs


def layer_losses(
    output: LayerOutput, targets: Sequence[Target], sigmas: Tensor, num_persons: float, score_target: str = "person"
) -> dict[str, Tensor]:
    """Match and measure one layer, unweighted: class, box, giou and, where it has any, keypoints, oks."""
    matched = match(output, targets, sigmas)
    where, truth = (matched.image, matched.slot), matched.gather(targets)
    boxes, quality = output.boxes[where], torch.ones_like(truth.areas)
    overlap = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth.boxes))
    losses = {"box": (boxes - truth.boxes).abs().sum() / num_persons, "giou": (1 - overlap).sum() / num_persons}
    if output.keypoints is not None:
        keypoints = output.keypoints[where]
        oks = object_keypoint_similarity(keypoints, truth.keypoints, truth.labelled, truth.areas, sigmas)
        distance = (keypoints - truth.keypoints).abs().sum(-1) * truth.labelled
        losses["keypoints"] = distance.sum() / num_persons
        losses["oks"] = (1 - oks.clamp(min=MIN_OKS)).sum() / num_persons
        quality = oks.detach()
    by_quality = score_target == "oks" and output.keypoints is not None
    wanted = torch.zeros_like(output.logits)
    wanted[(*where, torch.full_like(matched.slot, PERSON_CLASS))] = quality if by_quality else torch.ones_like(quality)
    losses["class"] = (varifocal_loss if by_quality else focal_loss)(output.logits, wanted) / num_persons
    return losses


def denoising_losses(output: LayerOutput, truth: DenoisingQueries) -> dict[str, Tensor]:
    """Measure one layer's repair of noised queries, unweighted; sums over the batch divided by M, as published."""
    wanted = torch.zeros_like(output.logits)
    wanted[..., PERSON_CLASS] = truth.is_person.float()
    overlap = generalized_iou(cxcywh_to_xyxy(output.boxes), cxcywh_to_xyxy(truth.true_boxes))
    losses = {
        "class": focal_loss(output.logits, wanted) / truth.count,
        "box": (output.boxes - truth.true_boxes).abs().sum() / truth.count,
        "giou": (1 - overlap).sum() / truth.count,
    }
    if output.keypoints is not None:
        distance = (output.keypoints - truth.true_keypoints).abs().sum(-1) * truth.labelled
        losses["keypoints"] = distance.sum() / truth.count
    return losses


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of focal losses (Lin et al. 2017, eq. 5) for targets 0 and 1."""
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    missed = p * (1 - wanted) + (1 - p) * wanted
    return (entropy * missed**FOCAL_GAMMA * (FOCAL_ALPHA * wanted + (1 - FOCAL_ALPHA) * (1 - wanted))).sum()


def varifocal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of varifocal losses (Zhang et al. 2021, eq. 2): targets in [0, 1] are qualities, 0 is background."""
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    background = (1 - FOCAL_ALPHA) * logits.detach().sigmoid() ** FOCAL_GAMMA
    return (entropy * torch.where(wanted > 0, wanted, background)).sum()


def _weigh(losses: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    return torch.stack([value * weights[name] for name, value in losses.items()]).sum()
