"""The feedback loop in training: the truth plays the annotator (sections 7.2 and 8 of the method)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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

ORDERS = ("worst", "random")


@dataclass(frozen=True)
class FeedbackConfig:
    """The annotator of the training loop; the defaults are the published ones.

    Attributes:
        probability: share of training steps that run the loop at all.
        repeats: loops per step, each with clicks of its own; all but the first run the pose layers only.
        max_rounds: rounds r are drawn from 1..max_rounds with P(r) ~ 1/r^2; None stands for K.
        min_clicks: clicks per person and round are drawn uniformly from min_clicks..max_clicks.
        max_clicks: see min_clicks.
        inversion: share of persons some of whose limbs have left and right swapped before the first click: models
            confuse them, and a click should correct that.
        order: which keypoints are clicked first: the "worst" as published, or any in "random" order.
        click_noise: standard deviation of clicks, in units of COCO's own annotators (sigma times the person's size).
        hold: which clicked keypoints may not move: "none" as published, those of the "current" round, or "all".
    """

    probability: float = 1.0
    repeats: int = 1
    max_rounds: int | None = None
    min_clicks: int = 1
    max_clicks: int = 1
    inversion: float = 0.0
    order: str = "worst"
    click_noise: float = 0.0
    hold: str = "none"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, known in (("hold", HOLDS), ("order", ORDERS)):
            if getattr(self, name) not in known:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}, must be one of {', '.join(known)}")
        for name in ("probability", "inversion"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} of the feedback loop is {getattr(self, name)}, must lie in [0, 1]")
        for name in ("repeats", "max_rounds", "max_clicks"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 0 <= self.min_clicks <= self.max_clicks:
            raise InvalidConfig(f"min_clicks is {self.min_clicks}, must lie in 0..max_clicks, {self.max_clicks}")
        if not 0 <= self.click_noise < math.inf:
            raise InvalidConfig(f"click_noise is {self.click_noise}, must be a finite number that is not negative")

    def draw_loop(self, num_keypoints: int, generator: torch.Generator | None = None) -> list[int]:
        """Draw the clicks per person of each round of one loop; no round skips it."""
        if torch.rand((), generator=generator) >= self.probability:
            return []
        rounds = int(draw_inverse_square(self.max_rounds or num_keypoints, (1,), generator))
        return torch.randint(self.min_clicks, self.max_clicks + 1, (rounds,), generator=generator).tolist()


PUBLISHED = FeedbackConfig()


@dataclass(frozen=True)
class Clicker:
    """The annotator of the training loop: knows the truth, and clicks as its settings say.

    Attributes:
        sigmas: ``(K,)``.
        config: which keypoints are clicked, with what noise, and which are held.
        mirror: ``(K,)`` each keypoint's counterpart on the other side, or itself; needed for ``config.inversion``.
        generator: random generator; None uses the global one.
    """

    sigmas: Tensor
    config: FeedbackConfig = PUBLISHED
    mirror: Tensor | None = None
    generator: torch.Generator | None = None

    def aim(self, truth: Target) -> Target:
        """Return where the keypoints of M persons will be clicked, with noise: drawn once, so that clicks agree."""
        return add_click_noise(truth, self.sigmas, self.config.click_noise, self.generator)

    def start(self, keypoints: Tensor) -> Tensor:
        """Return the poses ``(M, K, 2)`` to correct, sides swapped in some of them."""
        if not self.config.inversion or self.mirror is None:
            return keypoints
        return swap_sides(keypoints, self.mirror, self.config.inversion, self.generator)

    def choose(self, keypoints: Tensor, truth: Target, held: Tensor, count: int) -> Tensor:
        """Mark the ``count`` keypoints of each person that are clicked next; ``(M, K)`` bool."""
        if self.config.order == "random":
            return random_keypoints(held, truth, count, self.generator)
        return worst_keypoints(keypoints, truth, count)

    def hold(self, held: Tensor, clicked: Tensor) -> Tensor:
        """Mark the keypoints that may not move, ``(M, K)`` bool, from those held before and those just clicked."""
        return {"none": torch.zeros_like(held), "current": clicked, "all": held | clicked}[self.config.hold]


def run_feedback(
    model: ClickPose,
    output: LayerOutput,
    values: LayerValues,
    targets: Sequence[Target],
    clicker: Clicker,
    clicks: Sequence[int],
) -> list[LayerOutput]:
    """Correct and refine the best persons, once per round.

    Args:
        model: whose pose layers refine.
        output: of the last pose layer, ``(B, N, ...)``.
        values: from ``decoder.pose_values``.
        targets: the truth; each person is matched once, before the first click.
        clicker: the annotator.
        clicks: number of clicks per person for each round.

    Returns:
        Each pose layer's output in the last round.
    """
    best = output.logits.amax(-1).topk(min(model.config.num_refined, output.logits.shape[1]), 1).indices
    boxes, keypoints = take(output.boxes, best), take(_keypoints(output).flatten(2), best).unflatten(2, (-1, 2))
    matched = match(LayerOutput(take(output.logits, best), boxes, keypoints), targets, clicker.sigmas)
    truth, where = clicker.aim(matched.gather(targets)), (matched.image, matched.slot)
    touched = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device).index_put(where, torch.tensor(True))
    held = torch.zeros_like(truth.labelled, dtype=torch.bool)
    keypoints = keypoints.index_put(where, clicker.start(keypoints[where]))

    layers: list[LayerOutput] = []
    for count in clicks:
        clicked = clicker.choose(keypoints[where], truth, held, count)
        held = clicker.hold(held, clicked)
        corrected = torch.where(clicked[..., None], truth.keypoints, keypoints[where])
        keypoints = keypoints.index_put(where, corrected)
        free = torch.ones_like(keypoints[..., 0]).index_put(where, (~held).float())
        layers = model.refine(extend_to_clicks(boxes, keypoints, touched), keypoints, values, free)
        boxes, keypoints = layers[-1].boxes, _keypoints(layers[-1])
    return layers


def swap_sides(keypoints: Tensor, mirror: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Swap left and right in a share of the poses ``(M, K, 2)``: all pairs, or each with a probability of one half."""
    count, num_keypoints = keypoints.shape[:2]
    counterpart = mirror.to(keypoints.device)
    pair = torch.minimum(counterpart, torch.arange(num_keypoints, device=keypoints.device))
    draws = torch.rand(count, num_keypoints + 2, generator=generator).to(keypoints.device)
    trades = (draws[:, 2:] < 0.5)[:, pair] | (draws[:, 1:2] < 0.5)
    return torch.where((trades & (draws[:, :1] < share))[..., None], keypoints[:, counterpart], keypoints)


def add_click_noise(truth: Target, sigmas: Tensor, noise: float, generator: torch.Generator | None = None) -> Target:
    """Move the keypoints of M persons as far from the truth as annotators click."""
    if not noise:
        return truth
    spread = noise * (truth.areas / 2).sqrt()[:, None, None] * sigmas[:, None]
    draws = torch.randn(truth.keypoints.shape, generator=generator).to(truth.keypoints.device)
    return replace(truth, keypoints=(truth.keypoints + spread * draws).clamp(0, 1))


def worst_keypoints(keypoints: Tensor, truth: Target, count: int) -> Tensor:
    """Mark each person's ``count`` labelled keypoints, ``(M, K, 2)``, that are furthest off (L1); ``(M, K)`` bool."""
    return _most_urgent((keypoints.detach() - truth.keypoints).abs().sum(-1), truth.labelled, count)


def random_keypoints(held: Tensor, truth: Target, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Mark any ``count`` labelled keypoints of each person, those ``held (M, K)`` last; ``(M, K)`` bool."""
    draws = 1 + torch.rand(held.shape, generator=generator).to(held.device)
    return _most_urgent(draws - held.float(), truth.labelled, count)


def _most_urgent(urgency: Tensor, labelled: Tensor, count: int) -> Tensor:
    """Mark the labelled keypoints of highest urgency; fewer if there are fewer, but one at least, as published."""
    if count == 0:
        return torch.zeros_like(labelled, dtype=torch.bool)
    order = (urgency * labelled).argsort(dim=-1, descending=True, stable=True)[:, :count]
    marked = torch.zeros_like(labelled, dtype=torch.bool).scatter(1, order, True)
    first = torch.zeros_like(marked).scatter(1, order[:, :1], True)
    return first | (marked & (labelled > 0))


def _keypoints(output: LayerOutput) -> Tensor:
    assert output.keypoints is not None
    return output.keypoints
