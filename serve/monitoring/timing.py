"""Where the time of a request goes, in milliseconds: in its log line, and in its answer's ``Server-Timing`` header.

    ingress    in the ingress, until the answer begins; contains
    call       the call of a replica; contains
    replica    in the replica; contains
    queue      waiting for the model's thread
    model      the model

The time between "call" and "replica" is Ray's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Parts: TypeAlias = dict[str, float]

HEADER = "Server-Timing"
NAMES = ("ingress", "call", "replica", "queue", "model")
_parts: ContextVar[Parts | None] = ContextVar("parts", default=None)


@contextmanager
def collected() -> Iterator[Parts]:
    """Collect the parts that are timed inside the block."""
    parts: Parts = {}
    token = _parts.set(parts)
    try:
        yield parts
    finally:
        _parts.reset(token)


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Add the time of a block to a part."""
    started = time.perf_counter()
    try:
        yield
    finally:
        add_parts({part: 1000 * (time.perf_counter() - started)})


def add_parts(parts_ms: Mapping[str, float]) -> None:
    """Add to the parts that are being collected, if any."""
    known = _parts.get()
    if known is not None:
        known.update({name: known.get(name, 0.0) + ms for name, ms in parts_ms.items()})


class Stopwatch:
    """Times a function that is called in another thread: how long it waited, how long it ran."""

    def __init__(self) -> None:
        self._asked = self._started = self._ended = time.perf_counter()

    def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call the function."""
        self._started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self._ended = time.perf_counter()

    def parts_ms(self) -> Parts:
        """Return the two times."""
        return {"queue": 1000 * (self._started - self._asked), "model": 1000 * (self._ended - self._started)}


def write_header(parts_ms: Mapping[str, float]) -> str:
    """Return the value of a ``Server-Timing`` header."""
    return ", ".join(f"{name};dur={parts_ms[name]:.1f}" for name in NAMES if name in parts_ms)


def read_header(text: str) -> Parts:
    """Return the parts that a ``Server-Timing`` header names."""
    entries = (entry.strip().partition(";dur=") for entry in text.split(",") if entry)
    return {name: float(ms) for name, _, ms in entries}
