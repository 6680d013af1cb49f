"""The feedback loop in training: the truth plays the annotator (sections 7.2 and 8 of the method)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clickpose.clicks import HOLDS
from clickpose.errors import InvalidConfig
from clickpose.model.click_pose import ClickPose, extend_to_clicks
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.proposals import take
from clickpose.training.denoising import draw_inverse_square
from clickpose.training.matcher import match
from clickpose.training.targets import Target


@dataclass(frozen=True)
class FeedbackConfig:
    """How the annotator of the training loop behaves; the defaults are the published ones.

    Attributes:
        probability: share of training steps that run the loop at all.
        max_rounds: rounds r are drawn from 1..max_rounds with P(r) ~ 1/r^2; None stands for K.
        max_clicks: clicks a person and round, drawn uniformly from 1..max_clicks: the worst keypoints.
        hold: which clicked keypoints may not move: "none" as published, those of the "current" round, or "all".
    """

    probability: float = 1.0
    max_rounds: int | None = None
    max_clicks: int = 1
    hold: str = "none"

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.hold not in HOLDS:
            raise InvalidConfig(f"hold is {self.hold!r}, must be one of {', '.join(HOLDS)}")
        if not 0 <= self.probability <= 1:
            raise InvalidConfig(f"probability of the feedback loop is {self.probability}, must lie in [0, 1]")
        for name in ("max_rounds", "max_clicks"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be at least 1")

    def draw_rounds(self, num_keypoints: int, generator: torch.Generator | None = None) -> int:
        """Draw the number of rounds of one training step; 0 skips the loop."""
        if torch.rand((), generator=generator) >= self.probability:
            return 0
        return int(draw_inverse_square(self.max_rounds or num_keypoints, (1,), generator))

    def draw_clicks(self, generator: torch.Generator | None = None) -> int:
        """Draw the clicks a person of one round."""
        return int(torch.randint(1, self.max_clicks + 1, (1,), generator=generator))


def run_feedback(
    model: ClickPose,
    output: LayerOutput,
    values: LayerValues,
    targets: Sequence[Target],
    sigmas: Tensor,
    *,
    clicks: Sequence[int],
    hold: str = "none",
) -> list[LayerOutput]:
    """Correct and refine the best persons, once a round.

    Args:
        model: whose pose layers refine.
        output: of the last pose layer, ``(B, N, ...)``.
        values: from ``decoder.pose_values``.
        targets: what the annotator knows; each person is matched once, before the first click.
        sigmas: ``(K,)``.
        clicks: number of clicks a person for each round.
        hold: as in ``FeedbackConfig``.

    Returns:
        Each pose layer's output in the last round.
    """
    best = output.logits.amax(-1).topk(min(model.config.num_refined, output.logits.shape[1]), 1).indices
    assert output.keypoints is not None
    boxes, keypoints = take(output.boxes, best), take(output.keypoints.flatten(2), best).unflatten(2, (-1, 2))
    matched = match(LayerOutput(take(output.logits, best), boxes, keypoints), targets, sigmas)
    truth, where = matched.gather(targets), (matched.image, matched.slot)
    touched = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device).index_put(where, torch.tensor(True))
    held = torch.zeros_like(truth.labelled, dtype=torch.bool)

    layers: list[LayerOutput] = []
    for count in clicks:
        clicked = worst_keypoints(keypoints[where], truth, count)
        held = {"none": torch.zeros_like(held), "current": clicked, "all": held | clicked}[hold]
        corrected = torch.where(clicked[..., None], truth.keypoints, keypoints[where])
        keypoints = keypoints.index_put(where, corrected)
        free = torch.ones_like(keypoints[..., 0]).index_put(where, (~held).float())
        layers = model.refine(extend_to_clicks(boxes, keypoints, touched), keypoints, values, free)
        boxes, keypoints = layers[-1].boxes, _keypoints(layers[-1])
    return layers


def worst_keypoints(keypoints: Tensor, truth: Target, count: int) -> Tensor:
    """Mark each person's ``count`` labelled keypoints, ``(M, K, 2)``, that are furthest off (L1); ``(M, K)`` bool.

    A person with fewer labels gets fewer marks, but always one, as published.
    """
    error = (keypoints.detach() - truth.keypoints).abs().sum(-1) * truth.labelled
    order = error.argsort(dim=-1, descending=True, stable=True)[:, :count]
    marked = torch.zeros_like(error, dtype=torch.bool).scatter(1, order, True)
    first = torch.zeros_like(marked).scatter(1, order[:, :1], True)
    return first | (marked & (truth.labelled > 0))


def _keypoints(output: LayerOutput) -> Tensor:
    assert output.keypoints is not None
    return output.keypoints
