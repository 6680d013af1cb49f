"""Progress of long work: a bar in a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


class Advance(Protocol):
    """Receives counts of finished items."""

    def __call__(self, count: int, failed: int = 0, skipped: int = 0) -> None:
        """Count items just finished, those of them that failed, and those that were skipped."""
        ...


@contextmanager
def progress(label: str, total: int) -> Iterator[Advance]:
    """Show progress towards ``total``, with rate and time left; call what is yielded whenever items are finished."""
    console = Console(stderr=True)
    with _bar(label, total, console) if console.is_terminal else _log_lines(label, total) as advance:
        yield advance


@contextmanager
def _bar(label: str, total: int, console: Console) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    pace = _Pace(total)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, failed="", rate="")

        def advance(count: int, failed: int = 0, skipped: int = 0) -> None:
            pace.advance(count, failed, skipped)
            bar.update(task, advance=count + skipped, failed=pace.failed_words, rate=pace.rate_words)

        yield advance


@contextmanager
def _log_lines(label: str, total: int) -> Iterator[Advance]:
    pace, logged_at = _Pace(total), time.monotonic()

    def advance(count: int, failed: int = 0, skipped: int = 0) -> None:
        nonlocal logged_at
        pace.advance(count, failed, skipped)
        is_end = pace.done >= total and count + skipped > 0
        if is_end or time.monotonic() - logged_at >= LOG_EVERY_S:
            logged_at = time.monotonic()
            words = f"{pace.failed_words}{pace.rate_words}{pace.left_words}"
            logger.info("%s: %d of %d%s", label, pace.done, total, words)

    yield advance


class _Pace:
    """The number of finished items, the rate, and the time left."""

    def __init__(self, total: int) -> None:
        self.total, self.began, self.finished, self.failed, self.skipped = total, time.monotonic(), 0, 0, 0

    def advance(self, count: int, failed: int, skipped: int) -> None:
        self.finished += count
        self.failed += failed
        self.skipped += skipped

    @property
    def done(self) -> int:
        return self.finished + self.skipped

    @property
    def rate(self) -> float:
        return self.finished / max(1e-9, time.monotonic() - self.began)

    @property
    def failed_words(self) -> str:
        return f", {self.failed} failed" if self.failed else ""

    @property
    def rate_words(self) -> str:
        return f", {self.rate:.3g}/s" if self.finished else ""

    @property
    def left_words(self) -> str:
        left_s = (self.total - self.done) / self.rate if self.finished else 0
        return f", {_duration(left_s)} left" if left_s >= 1 else ""


def _duration(seconds: float) -> str:
    """Return a time as text: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
