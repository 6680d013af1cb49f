"""Pose-error modelling: noised copies of the truth that the decoder learns to repair (section 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clickpose.model.click_pose import NUM_LABELS, PERSON_LABEL
from clickpose.model.positions import inverse_sigmoid
from clickpose.training.targets import Target

NO_PERSON_LABEL = 2
LABEL_NOISE = 0.5
BOX_NOISE = 0.4
KEYPOINT_NOISE = 0.4


@dataclass(frozen=True)
class DenoisingQueries:
    """M noised persons a picture, with the truth they came from.

    Attributes:
        labels: ``(B, M)`` person label after noise, a row of the label embedding.
        boxes: ``(B, M, 4)`` ``cxcywh`` after noise, in [0, 1].
        keypoint_labels: ``(B, M, K)`` keypoint label after noise; true is k + 1.
        keypoints: ``(B, M, K, 2)`` after noise, in [0, 1].
        true_boxes: ``(B, M, 4)``.
        true_keypoints: ``(B, M, K, 2)``.
        labelled: ``(B, M, K)`` 0 or 1.
        is_person: ``(B, M)`` bool, False for the random queries of a picture without persons.
        num_persons: persons in each picture; M queries repeat them in blocks of that many.
    """

    labels: Tensor
    boxes: Tensor
    keypoint_labels: Tensor
    keypoints: Tensor
    true_boxes: Tensor
    true_keypoints: Tensor
    labelled: Tensor
    is_person: Tensor
    num_persons: tuple[int, ...]

    @property
    def count(self) -> int:
        """M."""
        return self.labels.shape[1]

    def person_mask(self, num_queries: int) -> Tensor:
        """``(B, M + Q, M + Q)`` bool, True where a row must not see a column, among M noised and Q real queries.

        A noised query sees its own repetition of the persons and every real query; a real one sees real ones only.
        """
        device = self.labels.device
        blocked = torch.zeros(len(self.num_persons), *[self.count + num_queries] * 2, dtype=torch.bool, device=device)
        blocked[:, self.count :, : self.count] = True
        for i, n in enumerate(self.num_persons):
            block = torch.arange(self.count, device=device) // n if n else self.labels.new_zeros(self.count)
            blocked[i, : self.count, : self.count] = block[:, None] != block
        return blocked

    def pose_mask(self, num_persons: int) -> Tensor:
        """``(B, (M + N) G, (M + N) G)`` bool among the tokens of M noised and N real persons.

        A noised token sees its own person and every real one; a real token sees its own person only.
        """
        group, device = self.keypoints.shape[2] + 1, self.labels.device
        person = torch.arange(self.count + num_persons, device=device).repeat_interleave(group)
        other = person[:, None] != person
        noised = person < self.count
        blocked = (other & ~(noised[:, None] & ~noised)).repeat(len(self.num_persons), 1, 1)
        for i, n in enumerate(self.num_persons):
            if n == 0:
                blocked[i] &= ~(noised[:, None] & noised)
        return blocked


def make_denoising_queries(
    targets: Sequence[Target], count: int, *, keep_clean: bool = True, generator: torch.Generator | None = None
) -> DenoisingQueries:
    """Draw ``count`` noised copies of each picture's persons.

    Labels become random with probability one half; boxes and keypoints move by up to 0.4 of half the box; with
    ``keep_clean``, n keypoints of each copy, P(n) ~ 1/n^2, keep their true place, as if an annotator had set them.
    """
    truths = [_repeat(target, count, generator) for target in targets]
    boxes = torch.stack([truth.boxes for truth in truths])
    keypoints = torch.stack([truth.keypoints for truth in truths])
    is_person = torch.tensor([len(target) > 0 for target in targets])[:, None].expand(-1, count)
    labels = torch.where(is_person, PERSON_LABEL, NO_PERSON_LABEL)
    true_labels = torch.arange(1, keypoints.shape[2] + 1).expand(keypoints.shape[:3])
    device = boxes.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(device)

    def signed(*shape: int) -> Tensor:
        return uniform(*shape) * 2 - 1

    half_wh = boxes[..., 2:] / 2
    noise = signed(*boxes.shape) * torch.cat((half_wh, boxes[..., 2:]), -1) * BOX_NOISE
    noised_boxes = (boxes + noise).clamp(0, 1)

    step = signed(*keypoints.shape) * noised_boxes[:, :, None, 2:] / 2 * KEYPOINT_NOISE
    if keep_clean:
        step = step * ~_draw_clean(keypoints.shape[:3], generator).to(device)[..., None]
    return DenoisingQueries(
        labels=_randomise(labels.to(device), 0, NUM_LABELS, generator),
        boxes=inverse_sigmoid(noised_boxes).sigmoid(),
        keypoint_labels=_randomise(true_labels.to(device), 0, keypoints.shape[2], generator),
        keypoints=(keypoints + step).clamp(0, 1),
        true_boxes=boxes,
        true_keypoints=keypoints,
        labelled=torch.stack([truth.labelled for truth in truths]),
        is_person=is_person.to(device),
        num_persons=tuple(len(target) for target in targets),
    )


def draw_inverse_square(last: int, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw integers n in 1..last with P(n) proportional to 1/n^2."""
    weights = 1.0 / torch.arange(1, last + 1, dtype=torch.float64) ** 2
    size = int(torch.tensor(shape).prod())
    return torch.multinomial(weights, size, replacement=True, generator=generator).reshape(shape) + 1


def _draw_clean(shape: torch.Size, generator: torch.Generator | None) -> Tensor:
    """``(B, M, K)`` bool: the keypoints that stay clean; drawn with replacement, so fewer than n may differ."""
    batch, count, num_keypoints = shape
    number = draw_inverse_square(num_keypoints, (batch, count, 1), generator)
    draws = torch.randint(num_keypoints, (batch, count, num_keypoints), generator=generator)
    drawn = torch.arange(num_keypoints) < number
    return torch.zeros(shape).scatter_add(2, draws, drawn.float()) > 0


def _randomise(labels: Tensor, low: int, high: int, generator: torch.Generator | None) -> Tensor:
    random = torch.randint(low, high, labels.shape, generator=generator).to(labels.device)
    return torch.where(torch.rand(labels.shape, generator=generator).to(labels.device) < LABEL_NOISE, random, labels)


def _repeat(target: Target, count: int, generator: torch.Generator | None) -> Target:
    """Repeat the persons in order, whole rounds first, the remainder drawn; random ones if there is none."""
    n, num_keypoints = len(target), target.keypoints.shape[1]
    if n == 0:
        boxes, keypoints = (
            torch.rand(count, 4, generator=generator),
            torch.rand(count, num_keypoints, 2, generator=generator),
        )
        empty = Target(boxes, keypoints, torch.ones(count, num_keypoints), torch.ones(count))
        return empty.to(target.boxes.device)
    rest = torch.randint(n, (count % n,), generator=generator)
    chosen = torch.cat((torch.arange(n).repeat(count // n), rest)).to(target.boxes.device)
    return Target(target.boxes[chosen], target.keypoints[chosen], target.labelled[chosen], target.areas[chosen])
