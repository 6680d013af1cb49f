"""How far long work has come: a bar in a terminal, a line in the log now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress towards ``total``; call what is yielded with the number of items just finished."""
    console = Console(stderr=True)
    with _bar(label, total, console) if console.is_terminal else _log_lines(label, total) as advance:
        yield advance


@contextmanager
def _bar(label: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _log_lines(label: str, total: int) -> Iterator[Callable[[int], None]]:
    done, logged_at = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, logged_at
        done += count
        if done >= total or time.monotonic() - logged_at >= LOG_EVERY_S:
            logged_at = time.monotonic()
            logger.info("%s: %d of %d", label, done, total)

    yield advance
