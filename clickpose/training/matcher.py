"""One-to-one matching of predictions to persons (section 7.3 of the method)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clickpose.match_costs import CLASS_COST, box_cost, class_cost, keypoint_cost
from clickpose.model.decoder import LayerOutput
from clickpose.model.proposals import PERSON_CLASS
from clickpose.training.targets import Target


@dataclass(frozen=True)
class Match:
    """Pairs over a whole batch, ordered by image: prediction ``slot`` of ``image`` is person ``person``.

    Attributes:
        image: ``(M,)`` int64.
        slot: ``(M,)`` int64.
        person: ``(M,)`` int64, index among the persons of that image.
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


@torch.no_grad()
def match(output: LayerOutput, targets: Sequence[Target], sigmas: Tensor) -> Match:
    """Match each person to the prediction so that the total cost is lowest; N may be smaller than n.

    Layers without keypoints, or whose keypoints are all zero, are matched by their boxes, the others by keypoints.
    """
    from scipy.optimize import linear_sum_assignment  # SciPy is not needed in the person's frame

    by_box = output.keypoints is None or output.keypoints.sum() == 0
    rows: list[tuple[int, int, int]] = []
    for i, target in enumerate(targets):
        cost = CLASS_COST * class_cost(output.logits[i, :, PERSON_CLASS].sigmoid())[:, None]
        if by_box:
            cost = cost + box_cost(output.boxes[i], target.boxes)
        else:
            assert output.keypoints is not None
            truth = (target.keypoints, target.labelled, target.areas)
            cost = cost + keypoint_cost(output.keypoints[i], *truth, sigmas)
        slots, persons = linear_sum_assignment(cost.expand(-1, len(target)).cpu().numpy())
        rows += [(i, int(slot), int(person)) for slot, person in zip(slots, persons, strict=True)]
    pairs = torch.tensor(rows, dtype=torch.int64, device=output.logits.device).reshape(-1, 3)
    return Match(pairs[:, 0], pairs[:, 1], pairs[:, 2])
