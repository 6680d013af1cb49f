"""What the pose layers learn from a batch of crops: to follow clicks, and to know how sure they are.

The order of events is that of the feedback loop (section 3.3 of the paper): a first pose, then rounds in which an
annotator places keypoints and the others follow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.oks import DEFAULT_TOLERANCE, exponent
from clickpose.person_frame.network import EDGE, PersonFrameNetwork, RoundOutput
from clickpose.person_frame.starts import first_keypoints
from clickpose.skeleton import Skeleton
from clickpose.training.person_frame.batches import CropBatch
from clickpose.training.person_frame.settings import LoopConfig

ANNOTATOR_NOISE = 0.3  # standard deviation of clicks, in standard deviations of COCO's annotators
MAX_DISTANCE = 3.0  # of one keypoint in the loss, in square roots of the person's area


class CropTrainingStep(nn.Module):
    """The loss of a batch of crops as a module's forward, so that data parallelism sees every parameter's use."""

    def __init__(self, model: PersonFrameNetwork, skeleton: Skeleton, loop: LoopConfig) -> None:
        super().__init__()
        self.model, self.skeleton, self.loop = model, skeleton, loop
        self.sigmas: Tensor
        self.register_buffer("sigmas", torch.from_numpy(skeleton.sigma_array), persistent=False)

    def forward(
        self, batch: CropBatch, num_persons: float, num_images: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Play a few rounds with a simulated annotator.

        Args:
            batch: crops with their truth.
            num_persons: unused here: every person counts the same.
            num_images: unused, too.
            generator: random generator of annotator and starts.

        Returns:
            The scalar loss, and for logs the share of free keypoints within tolerance before and after the last
            round.
        """
        batch = batch.to(self.sigmas.device)
        maps = self.model.see(batch.maps, batch.window)
        start = first_keypoints(self.model, self.skeleton, batch.boxes, batch.looked)
        loss, keypoints = self._start_loss(batch), self._vary_start(start.detach(), batch, generator)
        held, boxes = torch.zeros_like(batch.labelled, dtype=torch.bool), batch.boxes
        clicks_px = self._opinion(batch, generator)
        rounds = _one_of(self.loop.rounds, generator)
        logs: dict[str, Tensor] = {}
        for i in range(rounds):
            count = _one_of(self.loop.later_clicks if i else self.loop.first_clicks, generator)
            clicked = self._choose(keypoints, batch, held, count, generator)
            keypoints, held = torch.where(clicked[..., None], clicks_px, keypoints), held | clicked
            played = self.model.play(boxes, keypoints, maps, (~held).float())
            free = batch.labelled * ~held
            loss = loss + self._round_loss(played, keypoints, free, batch) / rounds
            logs = self._logs(played, keypoints, free, batch)
            keypoints = self._go_on(played, keypoints, held, generator).clamp(EDGE, 1 - EDGE)
        return loss, logs

    @torch.no_grad()
    def _go_on(self, played: RoundOutput, keypoints: Tensor, held: Tensor, generator: torch.Generator) -> Tensor:
        """Take over the answer: for half of the persons all of it, for the others as an annotator would see it."""
        settled, _ = played.settle(keypoints, ~held, self.model.frame_config)
        answered = torch.where(held[..., None], keypoints, played.keypoints)
        return torch.where(_random(generator, len(held), 1, 1, like=keypoints) < 0.5, answered, settled)

    def _round_loss(self, played: RoundOutput, given: Tensor, free: Tensor, batch: CropBatch) -> Tensor:
        """Distance and OKS term of every layer's free keypoints, and what the two chances should have been."""
        share = free / free.sum().clamp(min=1)
        root_area = batch.areas.sqrt().clamp(min=0.05)[:, None]
        total = share.new_zeros(())
        for layer in played.layers:
            assert layer.keypoints is not None
            keypoints = layer.keypoints[:, 0]
            distance = (keypoints - batch.keypoints).abs().sum(-1) / root_area
            miss = 1 - self._similarity(keypoints, batch)
            total = total + ((0.5 * distance.clamp(max=MAX_DISTANCE) + miss) * share).sum()
            total = total + 0.1 * (layer.boxes[:, 0] - batch.boxes).abs().mean()
        before, after = self._similarity(given, batch), self._similarity(played.keypoints.detach(), batch)
        for logits, similarity in ((played.given, before), (played.answered, after)):
            wanted = torch.stack(((similarity > DEFAULT_TOLERANCE).float(), similarity), -1)
            entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            total = total + 0.25 * (entropy * share[..., None]).sum()
        return total

    def _start_loss(self, batch: CropBatch) -> Tensor:
        """Teach where keypoints lie in a box, for skeletons that a look does not show."""
        distance = (self.model.start(batch.boxes.clamp(EDGE, 1 - EDGE)) - batch.keypoints).abs().sum(-1)
        return 0.1 * (distance.clamp(max=MAX_DISTANCE) * batch.labelled).sum() / batch.labelled.sum().clamp(min=1)

    def _vary_start(self, start: Tensor, batch: CropBatch, generator: torch.Generator) -> Tensor:
        """Start some persons from a disturbed truth, or with left and right swapped."""
        kind = _random(generator, len(batch), 1, 1, like=start)
        truth = torch.where(batch.labelled[..., None] > 0, batch.keypoints, start)
        moved = _random(generator, *truth.shape[:2], 1, like=start) < _random(generator, len(batch), 1, 1, like=start)
        noise = torch.randn(truth.shape, generator=generator).to(start.device)
        swapped = start[:, torch.from_numpy(self.skeleton.flip_permutation)]
        first, second = self.loop.disturbed_share, self.loop.disturbed_share + self.loop.mirrored_share
        varied = torch.where(kind < first, truth + moved * noise * 0.12, torch.where(kind < second, swapped, start))
        return varied.clamp(EDGE, 1 - EDGE)

    def _opinion(self, batch: CropBatch, generator: torch.Generator) -> Tensor:
        """Where the annotator would place each keypoint."""
        spread = ANNOTATOR_NOISE * (batch.areas / 2).sqrt()[:, None, None] * self.sigmas[:, None]
        noise = torch.randn(batch.keypoints.shape, generator=generator).to(spread.device)
        return (batch.keypoints + spread * noise).clamp(EDGE, 1 - EDGE)

    def _choose(
        self, keypoints: Tensor, batch: CropBatch, held: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        """Choose ``count`` keypoints of each person that the annotator places next; ``(B, K)`` bool."""
        chosen = torch.zeros_like(held)
        if count:
            any_ = _random(generator, *held.shape, like=keypoints)
            worst = 1 - self._similarity(keypoints, batch) + 0.05 * any_
            by_worst = _random(generator, len(batch), 1, like=keypoints) < self.loop.worst_share
            urgency = torch.where(by_worst, worst, any_) * batch.labelled * ~held
            chosen.scatter_(1, urgency.topk(count, 1).indices, True)
        return chosen & (batch.labelled > 0) & ~held

    def _similarity(self, keypoints: Tensor, batch: CropBatch) -> Tensor:
        """OKS term ``(B, K)`` of each keypoint."""
        squared = ((keypoints - batch.keypoints) ** 2).sum(-1)
        return torch.exp(-exponent(squared, batch.areas[:, None].clamp(min=1e-6), self.sigmas))

    @torch.no_grad()
    def _logs(self, played: RoundOutput, given: Tensor, free: Tensor, batch: CropBatch) -> dict[str, Tensor]:
        count = free.sum().clamp(min=1)
        within = [(self._similarity(k, batch) > DEFAULT_TOLERANCE) * free for k in (given, played.keypoints)]
        return {name: w.sum() / count for name, w in zip(("before", "after"), within, strict=True)}


def _one_of(choices: tuple[int, ...], generator: torch.Generator) -> int:
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]


def _random(generator: torch.Generator, *shape: int, like: Tensor) -> Tensor:
    return torch.rand(shape, generator=generator).to(like.device)
