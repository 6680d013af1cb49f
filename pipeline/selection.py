"""Batch active learning: which images to annotate next.

A criterion scores every image; of those with the highest scores, a core-set is chosen, so that no two are alike (the
filter and the diversity of Zhdanov, "Diverse mini-batch active learning", 2019). One image in ten is drawn at random
instead: this control arm measures the model on all images, which corrections on chosen images cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clickpose.errors import InvalidConfig
from pipeline.candidates import Array, Candidates, Small

CONTROL_EVERY = 10  # one image in ten is random
FILTER = 3  # times as many images as are wanted, those with the highest scores, from which a core-set is chosen
MAX_FILTERED = 20_000  # distances to all of them are computed for each image chosen

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """A chosen image: its name, and the reason in one sentence; ``is_control`` if it was drawn at random."""

    name: str
    reason: str
    is_control: bool


def _percentiles(scores: Array) -> Array:
    """Return the share of scores that are lower, halfway through equal ones."""
    ordered = np.sort(scores)
    lower, upper = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    middle: Array = (lower + upper) / (2 * max(1, len(scores)))
    return middle


def _mix(candidates: Candidates) -> Array:
    parts = (candidates.expected_clicks, candidates.movement, candidates.shape_distance)
    mixed: Array = np.mean([_percentiles(scores) for scores in parts], axis=0)
    return mixed


def _mirror_difference(candidates: Candidates) -> Array:
    if np.isnan(candidates.mirror_difference).all():
        raise InvalidConfig("the mirrored images were not looked at: pre-label with --mirror to select by flip")
    return np.nan_to_num(candidates.mirror_difference, nan=-np.inf)


class Criterion(NamedTuple):
    """A measure of how useful images are: a function that scores them, the highest first, and what a score means."""

    score: Callable[[Candidates], Array]
    meaning: str


CRITERIA = {
    "expected-clicks": Criterion(lambda candidates: candidates.expected_clicks, ""),
    "least-score": Criterion(lambda candidates: -candidates.least_score, "the least sure person scores {:.2f}"),
    "loop": Criterion(lambda candidates: candidates.movement, "poses move by {:.3f} of their size in another round"),
    "flip": Criterion(_mirror_difference, "poses differ by {:.3f} of their size in the mirrored image"),
    "likelihood": Criterion(lambda candidates: candidates.shape_distance, "a pose {:.1f} deviations from the mean"),
    "mix": Criterion(_mix, "mean percentile {:.0%}"),
}
RANDOM, CORE_SET = "random", "core-set"
NAMES = (*CRITERIA, RANDOM, CORE_SET)


def select(candidates: Candidates, count: int, by: str = "expected-clicks", *, seed: int = 0) -> list[Choice]:
    """Choose images, in the order in which they should be annotated.

    Args:
        candidates: to choose from.
        count: how many.
        by: one of ``NAMES``: a criterion, ``random``, or ``core-set``, which asks for diversity alone.
        seed: of the random draws.

    Raises:
        InvalidConfig: there is no such criterion, or the images lack what it needs.
    """
    if by not in NAMES:
        raise InvalidConfig(f"there is no criterion {by!r}: choose one of {', '.join(NAMES)}")
    random, count = np.random.default_rng(seed), min(count, len(candidates))
    if by == RANDOM:
        return [
            Choice(candidates.names[i], "drawn at random", True) for i in random.permutation(len(candidates))[:count]
        ]
    scores = CRITERIA[by].score(candidates) if by in CRITERIA else None
    control = random.permutation(len(candidates))[: count // CONTROL_EVERY]
    chosen = _choose(candidates, scores, count - len(control), control, random)
    return _in_order(candidates, by, scores, chosen, control)


def _choose(
    candidates: Candidates, scores: Array | None, count: int, taken: Indices, random: np.random.Generator
) -> Indices:
    """Return the indices of the images chosen: by score, the highest first, or without scores as a core-set."""
    free = np.setdiff1d(np.arange(len(candidates)), taken)
    shuffled = random.permutation(free)  # so that equal scores are in random order
    limit = max(MAX_FILTERED, count)
    if scores is None:
        return shuffled[k_centre(candidates.embedding[shuffled[:limit]], count)]
    filtered = shuffled[np.argsort(-scores[shuffled], kind="stable")][: min(FILTER * count, limit)]
    chosen = filtered[k_centre(candidates.embedding[filtered], count)]
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def k_centre(points: Small, count: int) -> Indices:
    """Choose points ``(N, D)`` by the greedy k-centre algorithm, starting with the first: each time the farthest.

    Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach" (ICLR 2018). There the
    points that are annotated already are centres, too; here only those that are chosen together are.
    """
    chosen, distance = list[int](), np.full(len(points), np.inf, np.float32)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        distance[chosen[-1]] = -1.0  # never again
    return np.array(chosen, np.int64)


def _in_order(candidates: Candidates, by: str, scores: Array | None, chosen: Indices, control: Indices) -> list[Choice]:
    """Put an image of the control arm after every nine others, with a reason for each image."""
    choices = [Choice(candidates.names[i], _reason(candidates, by, scores, i), False) for i in chosen.tolist()]
    for number, i in enumerate(control.tolist(), start=1):
        drawn = Choice(candidates.names[i], "drawn at random: control arm", True)
        choices.insert(number * CONTROL_EVERY - 1, drawn)
    return choices


def _reason(candidates: Candidates, by: str, scores: Array | None, i: int) -> str:
    persons = f"{candidates.num_persons[i]} {'person' if candidates.num_persons[i] == 1 else 'persons'}"
    clicks = f"{candidates.expected_clicks[i]:.1f} clicks expected, {persons}"
    if scores is None:
        return f"unlike the others chosen; {clicks}"
    why = CRITERIA[by].meaning.format(abs(scores[i])) if np.isfinite(scores[i]) else "not looked at mirrored"
    return f"{why}; {clicks}" if why else clicks
