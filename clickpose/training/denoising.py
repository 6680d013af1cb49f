"""Pose-error modelling: noised copies of the truth that the decoder learns to repair (section 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clickpose.errors import InvalidConfig
from clickpose.model.feedback import NUM_LABELS, PERSON_LABEL
from clickpose.model.positions import inverse_sigmoid
from clickpose.training.targets import Target

NO_PERSON_LABEL = 2


@dataclass(frozen=True)
class DenoisingConfig:
    """The noise of denoising queries; the defaults are those of the published code.

    Attributes:
        label_noise: probability that the label of a person or keypoint is replaced by a random one.
        inversion: probability that a left and a right keypoint swap labels. The paper uses 0.4 instead of random
            labels, the published code none.
        box_noise: largest move of a box in halves of its size, and largest change of its size.
        keypoint_noise: largest move of a keypoint in halves of its noised box.
    """

    label_noise: float = 0.5
    inversion: float = 0.0
    box_noise: float = 0.4
    keypoint_noise: float = 0.4

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("label_noise", "inversion"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be a probability")
        for name in ("box_noise", "keypoint_noise"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must lie in [0, 1)")


@dataclass(frozen=True)
class DenoisingQueries:
    """M noised persons per image, with the truth they came from.

    Attributes:
        labels: ``(B, M)`` person label after noise, a row of the label embedding.
        boxes: ``(B, M, 4)`` ``cxcywh`` after noise, in [0, 1].
        keypoint_labels: ``(B, M, K)`` keypoint label after noise; true is k + 1.
        keypoints: ``(B, M, K, 2)`` after noise, in [0, 1].
        true_boxes: ``(B, M, 4)``.
        true_keypoints: ``(B, M, K, 2)``.
        labelled: ``(B, M, K)`` 0 or 1.
        is_person: ``(B, M)`` bool, False for the random queries of an image without persons.
        num_persons: persons in each image; M queries repeat them in blocks of that many.
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
    targets: Sequence[Target],
    count: int,
    config: DenoisingConfig,
    mirror: Tensor,
    *,
    keep_clean: bool = True,
    generator: torch.Generator | None = None,
) -> DenoisingQueries:
    """Draw ``count`` noised copies of each image's persons.

    Args:
        targets: the truth, one per image.
        count: M.
        config: the noise.
        mirror: ``(K,)`` each keypoint's counterpart on the other side, or itself.
        keep_clean: n keypoints of each copy, P(n) ~ 1/n^2, keep their true place, as if an annotator had set them.
        generator: random generator; None uses the global one.
    """
    truths = [_repeat(target, count, generator) for target in targets]
    boxes = torch.stack([truth.boxes for truth in truths])
    keypoints = torch.stack([truth.keypoints for truth in truths])
    device = boxes.device
    noised_boxes = _move_boxes(boxes, config.box_noise, generator)
    noised_keypoints = _move_keypoints(keypoints, noised_boxes, config.keypoint_noise, keep_clean, generator)
    is_person = torch.tensor([len(target) > 0 for target in targets])[:, None].expand(-1, count)
    labels = torch.where(is_person, PERSON_LABEL, NO_PERSON_LABEL)
    return DenoisingQueries(
        labels=_randomise(labels, NUM_LABELS, config.label_noise, generator).to(device),
        boxes=inverse_sigmoid(noised_boxes).sigmoid(),
        keypoint_labels=_label_keypoints(keypoints.shape[:3], config, mirror, generator).to(device),
        keypoints=noised_keypoints,
        true_boxes=boxes,
        true_keypoints=keypoints,
        labelled=torch.stack([truth.labelled for truth in truths]),
        is_person=is_person.to(device),
        num_persons=tuple(len(target) for target in targets),
    )


def _move_boxes(boxes: Tensor, noise: float, generator: torch.Generator | None) -> Tensor:
    """Move and resize boxes ``(B, M, 4)`` by up to ``noise``, in halves of their size."""
    sizes = torch.cat((boxes[..., 2:] / 2, boxes[..., 2:]), -1)
    return (boxes + _signed(boxes, generator) * sizes * noise).clamp(0, 1)


def _move_keypoints(
    keypoints: Tensor, boxes: Tensor, noise: float, keep_clean: bool, generator: torch.Generator | None
) -> Tensor:
    """Move keypoints ``(B, M, K, 2)`` by up to ``noise``, in halves of their box ``(B, M, 4)``, some of them not."""
    step = _signed(keypoints, generator) * boxes[:, :, None, 2:] / 2 * noise
    if keep_clean:
        step = step * ~_draw_clean(keypoints.shape[:3], generator).to(keypoints.device)[..., None]
    return (keypoints + step).clamp(0, 1)


def _label_keypoints(
    shape: torch.Size, config: DenoisingConfig, mirror: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Return noised labels ``(B, M, K)``."""
    labels = torch.arange(1, shape[2] + 1).expand(shape)
    if config.inversion:
        labels = _invert(labels, mirror.cpu(), config.inversion, generator)
    return _randomise(labels, shape[2], config.label_noise, generator)


def _signed(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw numbers in [-1, 1)."""
    return torch.rand(like.shape, generator=generator).to(like.device) * 2 - 1


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


def _invert(labels: Tensor, mirror: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Swap the labels ``(B, M, K)`` of some pairs of left and right; both or neither."""
    draws = torch.rand(labels.shape, generator=generator)
    of_pair = draws[..., torch.minimum(mirror, torch.arange(len(mirror)))]
    return torch.where(of_pair < probability, labels[..., mirror], labels)


def _randomise(labels: Tensor, last: int, probability: float, generator: torch.Generator | None) -> Tensor:
    """Draw random labels from [0, last); of keypoints never the highest label K, as published."""
    random = torch.randint(last, labels.shape, generator=generator)
    return torch.where(torch.rand(labels.shape, generator=generator) < probability, random, labels)


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
