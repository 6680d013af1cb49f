"""The matcher and the losses on the answer of the first pass."""

import torch
from torch import Tensor

from clickpose.boxes import cxcywh_to_xyxy, generalized_iou
from clickpose.match_costs import class_cost
from clickpose.model.decoder import LayerOutput
from clickpose.model.proposals import PERSON_CLASS
from clickpose.training.losses import layer_losses
from clickpose.training.matcher import Match, match
from clickpose.training.targets import Target
from parity.fixture import COORDINATE, Fixture
from parity.inference import encoded_batch, sigmas

LOSS_NAMES = {"class": "ce", "box": "bbox", "giou": "giou", "keypoints": "keypoints", "oks": "oks"}


def check_criterion(fixture: Fixture) -> None:
    """Compare matches by keypoints and by boxes, mean costs and unweighted losses of the first pass."""
    output, targets = encoded_batch(fixture)[0], fixture.targets
    matched = match(output, targets, sigmas(fixture))
    check_match(fixture, "match_{}_", matched, "src", "tgt")
    by_boxes = match(LayerOutput(output.logits, output.boxes, None), targets, sigmas(fixture))
    check_match(fixture, "match_boxmode_{}_", by_boxes, "src", "tgt")
    for name, cost in mean_costs(output, targets).items():
        fixture.compare_by_size(f"meancost_{name}", cost)
        fixture.compare_by_size(f"loss_eval/set_{name}", cost)
    num_persons = max(1.0, float(sum(len(target) for target in targets)))
    for name, value in layer_losses(output, targets, sigmas(fixture), num_persons).items():
        fixture.compare_by_size(f"loss_eval/loss_{LOSS_NAMES[name]}", value)
        fixture.compare_by_size(f"loss_eval/dn_loss_{LOSS_NAMES[name]}", 0.0)
    fixture.compare("loss_eval/class_error", class_error(output, matched), COORDINATE)


def check_match(fixture: Fixture, pattern: str, matched: Match, slots: str, persons: str) -> None:
    """Compare a matching that is stored as two arrays an image; ``{}`` stands for which of the two."""
    for i in range(len(fixture.meta["image_seeds"])):
        here = matched.image == i
        fixture.compare(f"{pattern.format(slots)}{i}", matched.slot[here])
        fixture.compare(f"{pattern.format(persons)}{i}", matched.person[here])


def mean_costs(output: LayerOutput, targets: list[Target]) -> dict[str, Tensor]:
    """Mean over every prediction and every person of the batch; parts the matcher leaves out are 0."""
    truth, zero = Target(*(torch.cat(parts) for parts in zip(*map(_parts, targets), strict=True))), torch.zeros(())
    costs = {"class": class_cost(output.logits[..., PERSON_CLASS].sigmoid()).mean()}
    boxes = output.boxes.flatten(0, 1)[:, None]
    if output.keypoints is None:
        overlap = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth.boxes))
        return costs | {"bbox": (boxes - truth.boxes).abs().sum(-1).mean(), "giou": -overlap.mean(), "keypoints": zero}
    offset = output.keypoints.flatten(0, 1)[:, None] - truth.keypoints
    distance = (offset.abs().sum(-1) * truth.labelled).sum(-1)
    return costs | {"bbox": zero, "giou": zero, "keypoints": distance.mean()}


def _parts(target: Target) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return target.boxes, target.keypoints, target.labelled, target.areas


def class_error(output: LayerOutput, matched: Match) -> float:
    """Percentage of matched predictions whose higher logit is not the person's."""
    right = output.logits[matched.image, matched.slot].argmax(-1) == PERSON_CLASS
    return 100 - 100 * float(right.float().mean()) if len(right) else 100.0
