"""Requests and their answers, and numbers about them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

CLICKS = ("click", "drag")


@dataclass
class Request:
    """One request and its answer.

    Attributes:
        kind: "open", "click", "drag" or "box" of an annotator, "flood".
        at_s: when it was sent, in seconds since the start.
        ms: until the answer was read.
        outcome: "ok", a status code, the name of an error, or "swallowed": answered, but the edit was not applied.
        retry: whether it repeats a failed request.
        parts_ms: where the time went, as the answer says.
    """

    kind: str
    at_s: float
    ms: float = 0.0
    outcome: str = "ok"
    retry: bool = False
    parts_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """A fault of the service, and its time."""

    name: str
    at_s: float


@dataclass
class Log:
    """Everything that happened.

    Attributes:
        placed: keypoints that annotators placed.
        lost: those that an answer did not show where they were placed, as held.
        seen: images that were opened, by name and model version.
    """

    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    placed: int = 0
    lost: list[str] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.started

    @contextmanager
    def request(self, kind: str, *, retry: bool = False) -> Iterator[Request]:
        """Time a request; the block sets its outcome."""
        request = Request(kind, self.now(), retry=retry)
        try:
            yield request
        finally:
            request.ms = 1000 * (self.now() - request.at_s)
            self.requests.append(request)

    def fault(self, name: str, do: Callable[[], None]) -> None:
        """Disturb the service, and record the time."""
        self.faults.append(Fault(name, round(self.now(), 2)))
        do()

    def of(self, kinds: Sequence[str], since_s: float = 0.0) -> list[Request]:
        """Return the requests of some kinds sent since a time."""
        return [request for request in self.requests if request.kind in kinds and request.at_s >= since_s]


def failed(requests: Sequence[Request]) -> list[Request]:
    """Return the requests that failed."""
    return [request for request in requests if request.outcome != "ok"]


def percentile_ms(requests: Sequence[Request], percent: float) -> float:
    """Return a percentile of the answers' times; NaN if there are none."""
    times_ms = [request.ms for request in requests if request.outcome == "ok"]
    return round(float(np.percentile(times_ms, percent)), 1) if times_ms else float("nan")


def outcomes(requests: Sequence[Request]) -> dict[str, int]:
    """Count the requests by outcome."""
    return dict(Counter(request.outcome for request in requests).most_common())
