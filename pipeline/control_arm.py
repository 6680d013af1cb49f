"""The control arm: images drawn at random say how good the model is on all images, and whether more annotations pay.

prelabels/<run>/choices.json    what ``clickpose select`` chose, one entry per call

What annotators correct on images that were chosen says how hard those are. On images drawn at random it is an unbiased
measure of what is left to correct on all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.round_report import RoundReport
from pipeline.selection import Choice
from pipeline.snapshot import load_snapshot
from pipeline.store import Store

PRELABELS, CHOICES = "prelabels", "choices.json"
CORRECTED = ("placed", "moved")
NEXT_IMAGES = 100
WORTHWHILE = 0.05  # clicks per person that another hundred images must save: one keypoint of every twentieth person
NUM_DRAWS, INTERVAL = 4000, (2.5, 97.5)  # percentiles


def remember_choices(prelabels: Store, by: str, choices: Sequence[Choice]) -> None:
    """Note what was chosen beside the pre-labels that it was chosen from."""
    earlier = prelabels.read_json(CHOICES) if prelabels.exists(CHOICES) else []
    prelabels.write_json(CHOICES, [*earlier, {"by": by, "choices": [asdict(choice) for choice in choices]}])


def drawn_at_random(store: Store) -> frozenset[str]:
    """Return the names of all images that ``clickpose select`` drew at random from the pre-labels of a store."""
    files = [f"{PRELABELS}/{run}/{CHOICES}" for run in store.folders(PRELABELS)]
    calls = [call for file in files if store.exists(file) for call in store.read_json(file)]
    return frozenset(choice["name"] for call in calls for choice in call["choices"] if choice["is_control"])


@dataclass(frozen=True)
class Estimate:
    """A ratio over images, and the range that it lies in with a chance of 95 %: other images would give another one."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Outlook:
    """What a round says about the next one.

    Attributes:
        clicks_left: keypoints per person that annotators corrected on the round's images drawn at random, which the
            model had not seen; None without such an image.
        num_drawn: these images.
        saving: clicks per person that another ``NEXT_IMAGES`` images would save, if they help as much as the last ones;
            None if nothing was compared.
        num_last: these last images.
    """

    clicks_left: Estimate | None
    num_drawn: int
    saving: Estimate | None
    num_last: int = 0

    @property
    def advice(self) -> str:
        """Whether to continue annotating, in one sentence."""
        if self.saving is None:
            return "Whether more images would help is not known: no round has compared two models yet."
        if self.saving.high < WORTHWHILE:
            return f"Stop: they would save less than {WORTHWHILE} clicks per person."
        if self.saving.low >= WORTHWHILE:
            return f"Continue: they would save at least {WORTHWHILE} clicks per person."
        return f"Continue for now: whether they would save {WORTHWHILE} clicks per person is not certain yet."

    def in_words(self) -> str:
        """Return the outlook as text for people."""
        if self.clicks_left is None:
            left = "No image of the last round was drawn at random: let clickpose select choose some of the next ones."
        else:
            images = "1 image" if self.num_drawn == 1 else f"{self.num_drawn} images"
            left = f"Clicks per person left, by {images} drawn at random: {self.clicks_left}."
        saved = ""
        if self.saving:
            help_like = f"if they help like the last {self.num_last}"
            saved = f"Clicks per person that another {NEXT_IMAGES} images would save, {help_like}: {self.saving}."
        return "\n".join(line for line in (left, saved, self.advice) if line) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "advice": self.advice}


def outlook(store: Store, reports: Sequence[RoundReport]) -> Outlook:
    """Say what all rounds so far, at least one, tell about the next one.

    Raises:
        StoreError: the last round's snapshot is gone, or is not what was written.
    """
    last = reports[-1]
    drawn = drawn_at_random(store) & set(last.newest)
    snapshot = load_snapshot(store, last.snapshot)
    images = [image for image in snapshot.annotations.images if image.file_name in drawn]
    corrections = Counter(record.image_id for record in snapshot.provenance if record.source in CORRECTED)
    left = estimate([corrections[image.id] for image in images], [len(image.persons) for image in images])
    recent = _recent(reports)
    return Outlook(left, len(images), _saving(recent), sum(len(report.newest) for report in recent))


def _recent(reports: Sequence[RoundReport]) -> list[RoundReport]:
    """Return the last rounds that compared models: as many as ``NEXT_IMAGES`` new images took."""
    recent, num_new = list[RoundReport](), 0
    for report in reversed([report for report in reports if report.newest and report.by_image]):
        if num_new < NEXT_IMAGES:
            recent.insert(0, report)
            num_new += len(report.newest)
    return recent


def _saving(recent: Sequence[RoundReport]) -> Estimate | None:
    """Return the clicks per person from the first champion of some rounds to the last challenger, per ``NEXT_IMAGES``.

    A challenger that was not promoted saves nothing, but the last one shows what the images so far can give.
    """
    saved, persons = Counter[str](), Counter[str]()
    for report in recent:
        for one in report.by_image:
            persons[one.file_name] += one.num_persons
            if report.promoted or report is recent[-1]:
                saved[one.file_name] += one.champion - one.challenger
    per_round = estimate([saved[name] for name in persons], list(persons.values()))
    num_new = sum(len(report.newest) for report in recent)
    return per_round and _scaled(per_round, len(recent) * NEXT_IMAGES / num_new)


def estimate(amounts: Sequence[float], counts: Sequence[float]) -> Estimate | None:
    """Estimate the ratio of two sums over images by a bootstrap; None without anything to count."""
    if not sum(counts):
        return None
    num_images, values = len(counts), np.array([amounts, counts], np.float64)
    times = np.random.default_rng(0).multinomial(num_images, np.full(num_images, 1 / num_images), NUM_DRAWS)
    drawn = times @ values.T
    drawn = drawn[drawn[:, 1] > 0]
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], INTERVAL)
    return Estimate(float(values[0].sum() / values[1].sum()), float(low), float(high))


def _scaled(one: Estimate, factor: float) -> Estimate:
    return Estimate(one.value * factor, one.low * factor, one.high * factor)
