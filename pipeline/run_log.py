"""The progress of training, in a file beside its checkpoints: written by one worker, readable from anywhere.

training.json   {"step": 120, "total_steps": 400, "epochs": [{"epoch": 0, "train/loss": 3.2, ...}, ...]}
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from pipeline.beside import beside
from pipeline.progress import progress
from pipeline.store import Store

LOG = "training.json"
WRITE_EVERY_S, READ_EVERY_S = 5.0, 1.0


class RunLog:
    """The log of one run. Only the worker of rank 0 writes it; a resumed run continues it."""

    def __init__(self, run: str, total_steps: int, first_epoch: int) -> None:
        self.store, self.total_steps = Store(run), total_steps
        self.epochs = [entry for entry in read_log(run)["epochs"] if entry["epoch"] < first_epoch]
        self.written_at = 0.0

    def at_step(self, step: int) -> None:
        """Note, every few seconds, which step of the run was just finished."""
        if time.monotonic() - self.written_at >= WRITE_EVERY_S:
            self._write(step)

    def after_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Note the numbers of an epoch."""
        self.epochs.append({"epoch": epoch, **metrics})
        self._write(step)

    def _write(self, step: int) -> None:
        self.written_at = time.monotonic()
        self.store.write_json(LOG, {"step": step, "total_steps": self.total_steps, "epochs": self.epochs})


def read_log(run: str) -> dict[str, Any]:
    """Return the log of a run; one without any steps if training has not begun."""
    store = Store(run)
    return dict(store.read_json(LOG)) if store.exists(LOG) else {"step": 0, "total_steps": 0, "epochs": []}


@contextmanager
def shown(run: str, label: str) -> Iterator[None]:
    """Show the progress of a run that is running in another thread or process."""
    with beside(partial(_watch, run, label)):
        yield


def _watch(run: str, label: str, done: threading.Event) -> None:
    while not (total := read_log(run)["total_steps"]):
        if done.wait(READ_EVERY_S):
            return
    with progress(label, total) as advance:
        seen, is_over = 0, False
        while not is_over:
            is_over = done.wait(READ_EVERY_S)
            step = read_log(run)["step"]
            advance(step - seen)
            seen = step
