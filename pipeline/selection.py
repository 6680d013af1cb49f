"""Which images to annotate next: the most useful ones, different from each other, and some random ones.

The random images are a control arm: corrections on them measure the model on all images, which those on chosen images
cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clickpose.errors import InvalidConfig
from pipeline.candidates import Array, Candidates

CONTROL_EVERY = 10  # one image in ten is random
POOL = 3  # times as many of the most useful images as are wanted, from which those that differ are taken
MAX_POOL = 20_000

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """A chosen image: its name, and the reason in one sentence; ``is_control`` if it was drawn at random."""

    name: str
    reason: str
    is_control: bool


def _ranks(values: Array) -> Array:
    """Return the share of values that are lower, halfway through equal ones."""
    ordered = np.sort(values)
    lower, upper = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    middle: Array = (lower + upper) / (2 * max(1, len(values)))
    return middle


def _mix(candidates: Candidates) -> Array:
    parts = (candidates.expected_clicks, candidates.movement, candidates.oddness)
    mixed: Array = np.mean([_ranks(values) for values in parts], axis=0)
    return mixed


def _mirrored(candidates: Candidates) -> Array:
    if np.isnan(candidates.mirror_difference).all():
        raise InvalidConfig("the mirrored images were not looked at: pre-label with --mirror to select by flip")
    return np.nan_to_num(candidates.mirror_difference, nan=-1.0)


CRITERIA: dict[str, Callable[[Candidates], Array]] = {
    "expected-clicks": lambda candidates: candidates.expected_clicks,
    "least-score": lambda candidates: -candidates.least_score,
    "loop": lambda candidates: candidates.movement,
    "flip": _mirrored,
    "likelihood": lambda candidates: candidates.oddness,
    "mix": _mix,
}
BY_CHANCE, BY_COVERAGE = "random", "core-set"
NAMES = (*CRITERIA, BY_CHANCE, BY_COVERAGE)


def select(candidates: Candidates, count: int, by: str = "expected-clicks", *, seed: int = 0) -> list[Choice]:
    """Choose images, in the order in which they should be annotated.

    Args:
        candidates: to choose from.
        count: how many.
        by: one of ``NAMES``: the highest values of a criterion, chance, or as different from each other as possible.
        seed: of the random draw.

    Raises:
        InvalidConfig: there is no such criterion, or the images lack what it needs.
    """
    if by not in NAMES:
        raise InvalidConfig(f"there is no criterion {by!r}: choose one of {', '.join(NAMES)}")
    random, count = np.random.default_rng(seed), min(count, len(candidates))
    if by == BY_CHANCE:
        return [
            Choice(candidates.names[i], "drawn at random", True) for i in random.permutation(len(candidates))[:count]
        ]
    values = CRITERIA[by](candidates) if by in CRITERIA else None
    control = random.permutation(len(candidates))[: count // CONTROL_EVERY]
    chosen = _choose(candidates, values, count - len(control), control, random)
    places = np.arange(len(control)) * CONTROL_EVERY + CONTROL_EVERY - 1  # each tenth in the order
    return _in_order(candidates, by, values, chosen, dict(zip(places.tolist(), control.tolist(), strict=True)))


def _choose(
    candidates: Candidates, values: Array | None, count: int, taken: Indices, random: np.random.Generator
) -> Indices:
    """Return the indices of the images chosen, most useful first."""
    free = np.setdiff1d(np.arange(len(candidates)), taken)
    shuffled = random.permutation(free)  # so that equal values are in random order
    if values is None:
        return shuffled[k_centre(candidates.embedding[shuffled[:MAX_POOL]], count)]
    best = shuffled[np.argsort(-values[shuffled], kind="stable")][: min(POOL * count, max(MAX_POOL, count))]
    chosen = best[k_centre(candidates.embedding[best], count)]
    return chosen[np.argsort(-values[chosen], kind="stable")]


def k_centre(points: Array, count: int) -> Indices:
    """Choose points ``(N, D)`` one after the other, each as far as possible from those before, starting with the first.

    Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach" (ICLR 2018).
    """
    if not len(points) or not count:
        return np.zeros(0, np.int64)
    chosen, distance = [0], np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        distance[chosen[-1]] = -1.0
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        distance[chosen] = -1.0
    return np.array(chosen, np.int64)


def _in_order(
    candidates: Candidates, by: str, values: Array | None, chosen: Indices, control: dict[int, int]
) -> list[Choice]:
    """Insert the control arm between the others, with a reason for each image."""
    remaining, choices = iter(chosen.tolist()), list[Choice]()
    for place in range(len(chosen) + len(control)):
        if place in control:
            choices.append(Choice(candidates.names[control[place]], "drawn at random: control arm", True))
        else:
            i = next(remaining)
            choices.append(Choice(candidates.names[i], _reason(candidates, by, values, i), False))
    return choices


def _reason(candidates: Candidates, by: str, values: Array | None, i: int) -> str:
    persons = f"{candidates.num_persons[i]} {'person' if candidates.num_persons[i] == 1 else 'persons'}"
    clicks = f"{candidates.expected_clicks[i]:.1f} clicks expected, {persons}"
    return clicks if values is None or by == "expected-clicks" else f"{by} {values[i]:.3g}; {clicks}"
