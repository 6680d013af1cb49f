"""Whether a challenger replaces the champion: a rule, and the evidence that it requires.

Both models are measured on the same images. A paired bootstrap draws these images thousands of times, with
replacement; the share of draws in which the challenger does better is the chance that it really is better. Every
measure is a loss, of which less is better.

A useless model does the least harm: it moves next to nothing. So harm is shown, but does not decide, against a champion
whose refines never bring a keypoint into tolerance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clickpose.errors import InvalidConfig
from clickpose.evaluation.image_costs import ImageCost
from clickpose.oks import Doubles

CLICKS_TO_DELETE_PERSON = 1
MIN_IMAGES = 4  # with fewer, no chance can be estimated from their differences
MIN_DIFFERENCE = 1e-9  # a difference below it is rounding
HARM = "harm"


@dataclass(frozen=True)
class GateRule:
    """The conditions for promoting a challenger.

    Attributes:
        min_persons: labelled persons to compare on; with fewer the champion stays.
        min_images: images to compare on; with fewer the champion stays.
        min_chance: promote if the chance that clicks per person fall is at least this, in (0, 1). An equal challenger
            passes with a chance of about 1 - ``min_chance``: the default keeps it safely below 5 %.
        max_false_alarms: chance in (0, 1) that a challenger which is no worse is rejected as worse; the losses share
            it equally.
        num_draws: number of bootstrap draws.
        seed: of the draws.

    Raises:
        InvalidConfig: a value is outside its range.
    """

    min_persons: int = 30
    min_images: int = 10
    min_chance: float = 0.96
    max_false_alarms: float = 0.05
    num_draws: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("min_chance", "max_false_alarms"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must lie in (0, 1)")
        if self.min_images < MIN_IMAGES:
            raise InvalidConfig(f"min_images is {self.min_images}, must be at least {MIN_IMAGES}")
        for name in ("min_persons", "num_draws"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be at least 1")

    def in_words(self) -> str:
        """Return the rule as a sentence for reports."""
        return (
            f"Promote when the chance that clicks per person fall is at least {self.min_chance:.0%} (first row) and no"
            " other row is worse beyond noise. A challenger that is no worse is rejected with a chance of at most"
            f" {self.max_false_alarms:.0%}. At least {self.min_persons} persons in {self.min_images} images are needed."
        )


@dataclass(frozen=True)
class Check:
    """One measure of both models; less is better.

    Attributes:
        name: what is measured, and on which images.
        champion: its value; None where there was nothing to measure.
        challenger: the same of the challenger.
        chance_better: chance in [0, 1] that the challenger's value is really below the champion's.
        chance_worse: chance in [0, 1] that it is really above; what is left is the chance that they are equal.
        passed: whether the challenger passes this check.
    """

    name: str
    champion: float | None
    challenger: float | None
    chance_better: float
    chance_worse: float
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is promoted, why in one sentence, and the checks behind it."""

    is_better: bool
    reason: str
    checks: tuple[Check, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verdict:
        """Read what ``dataclasses.asdict`` gave."""
        return cls(values["is_better"], values["reason"], tuple(Check(**check) for check in values["checks"]))


def judge(
    champion: Sequence[ImageCost],
    challenger: Sequence[ImageCost],
    keypoints: Sequence[str],
    rule: GateRule,
    gold: Collection[str] = (),
) -> Verdict:
    """Decide whether the challenger replaces the champion.

    Args:
        champion: its costs, image by image.
        challenger: its costs on the same images, in the same order.
        keypoints: names of the K keypoints.
        rule: what is required of the challenger.
        gold: file names of images whose labels are trusted. Losses are checked on these alone if enough of them have
            persons, else on all images.
    """
    if shortage := _shortage(champion, rule):
        return Verdict(False, shortage)
    is_gold = np.array([cost.file_name in gold and cost.num_persons > 0 for cost in champion])
    gold_decides = is_gold.sum() >= MIN_IMAGES
    trusted = is_gold if gold_decides else np.ones(len(champion), bool)
    before, after = losses_of(champion, keypoints), losses_of(challenger, keypoints)
    clicks = _compare(before, after, rule)[0]
    saving = replace(clicks, passed=clicks.chance_better >= rule.min_chance)
    losses = _losses(_compare(before.on(trusted), after.on(trusted), rule), rule)
    if not any(cost.num_helped for cost in np.array(champion)[trusted]):
        losses = [_not_weighed(check) if check.name == HARM else check for check in losses]
    if gold_decides:
        losses = [replace(check, name=f"{check.name}, gold images") for check in losses]
    checks = (saving, *losses)
    return Verdict(all(check.passed for check in checks), _reason(saving, losses), checks)


@dataclass(frozen=True, eq=False)
class Losses:
    """Measures of one model on P images: M ratios, each a sum of ``amounts`` over a sum of ``counts``.

    Attributes:
        names: of the M measures.
        amounts: ``(P, M)``; less is better.
        counts: ``(P, M)``; what the amounts are shares of.
    """

    names: tuple[str, ...]
    amounts: Doubles
    counts: Doubles

    def on(self, chosen: NDArray[np.bool_]) -> Losses:
        """Return the same of some images, ``(P,)``."""
        return Losses(self.names, self.amounts[chosen], self.counts[chosen])

    def ratios(self, times: Doubles) -> Doubles:
        """Return the ``(..., M)`` ratios with each image taken ``(..., P)`` times; NaN without anything to count."""
        counts = times @ self.counts
        return np.divide(times @ self.amounts, counts, out=np.full_like(counts, np.nan), where=counts > 0)


def losses_of(costs: Sequence[ImageCost], keypoints: Sequence[str]) -> Losses:
    """Return clicks per person, 1 - AP, harm, and for each keypoint the share that is not accurate."""
    names = ("clicks per person", "1 - AP", HARM, *(f"errors at {keypoint}" for keypoint in keypoints))
    amounts = [
        [
            all_clicks(cost),
            0.0 if cost.ap is None else 1 - cost.ap,
            cost.num_harmed,
            *(cost.labelled - cost.accurate),
        ]
        for cost in costs
    ]
    counts = [[cost.num_persons, cost.ap is not None, cost.num_within, *cost.labelled] for cost in costs]
    return Losses(names, np.array(amounts, np.float64), np.array(counts, np.float64))


def all_clicks(cost: ImageCost) -> int:
    """Return the clicks of an image: those for its persons, and one for each pose without a person."""
    return cost.clicks + CLICKS_TO_DELETE_PERSON * cost.num_spurious


def _compare(before: Losses, after: Losses, rule: GateRule) -> list[Check]:
    """Return a check of every measure, to be decided, by a paired bootstrap over images.

    Of P images the variance of drawn differences is too small by P / (P - 1), and Student's t with P - 1 degrees of
    freedom has (P - 1) / (P - 3) times the variance of the normal distribution: differences are widened for both.
    """
    num_images = len(before.amounts)
    once, times = np.ones(num_images), _draws(num_images, rule.num_draws, rule.seed)
    champion, challenger = before.ratios(once), after.ratios(once)
    drawn = after.ratios(times) - before.ratios(times)
    actual = challenger - champion
    widened = actual + (drawn - actual) * np.sqrt(num_images / (num_images - 3))
    better, worse = (widened < -MIN_DIFFERENCE).mean(0), (widened > MIN_DIFFERENCE).mean(0)
    numbers = zip(before.names, champion, challenger, better, worse, strict=True)
    return [Check(name, _number(a), _number(b), float(p), float(q), True) for name, a, b, p, q in numbers]


@lru_cache(maxsize=2)
def _draws(num_images: int, num_draws: int, seed: int) -> Doubles:
    """Return how often each image is drawn, ``(num_draws, P)``."""
    even = np.full(num_images, 1 / num_images)
    return np.random.default_rng(seed).multinomial(num_images, even, size=num_draws).astype(np.float64)


def _losses(checks: Sequence[Check], rule: GateRule) -> list[Check]:
    limit = 1 - rule.max_false_alarms / len(checks)
    return [replace(check, passed=check.chance_worse <= limit) for check in checks]


def _not_weighed(harm: Check) -> Check:
    return replace(harm, name=f"{harm.name} (the champion's refines help nowhere: not weighed)", passed=True)


def _shortage(costs: Sequence[ImageCost], rule: GateRule) -> str:
    """Return what is missing for a decision, or an empty text."""
    num_persons, num_images = sum(cost.num_persons for cost in costs), sum(cost.num_persons > 0 for cost in costs)
    more_persons, more_images = max(0, rule.min_persons - num_persons), max(0, rule.min_images - num_images)
    if not more_persons and not more_images:
        return ""
    return (
        f"the models were compared on {num_persons} persons in {num_images} images, which is too few:"
        f" {more_persons} more persons and {more_images} more images are needed"
    )


def _reason(saving: Check, losses: Sequence[Check]) -> str:
    lost = [check for check in losses if not check.passed]
    if lost:
        worst = max(lost, key=lambda check: check.chance_worse)
        return (
            f"the challenger is worse in {len(lost)} of {len(losses)} measures, most clearly in {worst.name}:"
            f" {worst.challenger:.2f} against {worst.champion:.2f}"
        )
    return (
        f"the challenger needs {saving.challenger:.2f} clicks per person against the champion's {saving.champion:.2f};"
        f" the chance that it really needs fewer is {saving.chance_better:.1%}"
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
