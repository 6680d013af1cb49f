"""The tasks of a project as they were last read, so that the next time only what has changed is read.

    collected/<project>/part-<n>.json   tasks by id; those of a later part replace those of an earlier one
    collected/<project>/log.json        the parts, and how far they reach; written last

Label Studio says which tasks and annotations were changed, but not which were deleted: if the number of tasks or
annotations differs from its own, everything is read again; and once a day in any case.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from integrations.label_studio.read_tasks import ReadTask
from pipeline.store import Store

FOLDER, LOG = "collected", "log.json"
OVERLAP = timedelta(minutes=5)  # a slow transaction may be saved with a time that was already read
FULL_EVERY = timedelta(days=1)
TRIES = 2  # annotations that are saved while we count are no reason to read everything
MAX_PARTS = 20

Task = Mapping[str, Any]

logger = logging.getLogger(__name__)


class TaskSource(Protocol):
    """A project of Label Studio."""

    def now(self) -> datetime:
        """Return the server's time."""

    def counts(self) -> tuple[int, int]:
        """Return the number of its tasks and of their annotations, without cancelled ones."""

    def tasks(self, changed_since: datetime | None) -> Iterable[Task]:
        """Yield its tasks with their annotations, those that changed after a time or all of them."""


@dataclass(frozen=True)
class TaskLog:
    """What is known of a project.

    Attributes:
        reading: what the annotations were read as; with any other, everything is read again.
        read_until: the server's time up to which all changes are known.
        all_read_at: the server's time when everything was last read.
        parts: names of the files, oldest first.
        tasks: all tasks by id.
    """

    reading: str
    read_until: datetime
    all_read_at: datetime
    parts: tuple[str, ...]
    tasks: Mapping[int, ReadTask]

    def counts(self) -> tuple[int, int]:
        """Return the number of tasks and of their annotations."""
        return len(self.tasks), sum(task.num_submitted for task in self.tasks.values())


def collect_tasks(
    store: Store, name: str, project: TaskSource, reading: str, read: Callable[[Task], ReadTask]
) -> Mapping[int, ReadTask]:
    """Return all tasks of a project by id; only those that changed since the last call are read.

    Args:
        store: keeps what is read; the caller holds its lease.
        name: of the project in the store.
        project: in Label Studio.
        reading: describes everything that ``read`` depends on, such as the skeleton.
        read: reads one task.
    """
    log = _load(store, name, reading)
    if log is not None and project.now() - log.all_read_at < FULL_EVERY:
        for _ in range(TRIES):
            log = _read_changed(store, name, project, log, read)
            if log.counts() == project.counts():
                return log.tasks
        logger.info("tasks or annotations were deleted: reading all of them again")
    return _read_all(store, name, project, reading, read).tasks


def _read_all(store: Store, name: str, project: TaskSource, reading: str, read: Callable[[Task], ReadTask]) -> TaskLog:
    now = project.now()
    tasks = {int(task["id"]): read(task) for task in project.tasks(None)}
    return _rewrite(store, name, TaskLog(reading, now, now, (), tasks))


def _read_changed(
    store: Store, name: str, project: TaskSource, log: TaskLog, read: Callable[[Task], ReadTask]
) -> TaskLog:
    now = project.now()
    changed = {
        int(task["id"]): read(task)
        for task in project.tasks(log.read_until - OVERLAP)
        if not (known := log.tasks.get(int(task["id"]))) or known.updated_at != task["updated_at"]
    }
    log = replace(log, read_until=now, tasks={**log.tasks, **changed})
    if len(log.parts) >= MAX_PARTS:
        return _rewrite(store, name, log)
    if changed:
        log = replace(log, parts=(*log.parts, _write_part(store, name, log.parts, changed)))
    return _save(store, name, log)


def _rewrite(store: Store, name: str, log: TaskLog) -> TaskLog:
    """Write everything as one part, and delete all others."""
    part = _write_part(store, name, store.names(f"{FOLDER}/{name}"), log.tasks)
    log = _save(store, name, replace(log, parts=(part,)))
    for old in store.names(f"{FOLDER}/{name}"):
        if old not in (part, LOG):
            store.delete(f"{FOLDER}/{name}/{old}")
    return log


def _write_part(store: Store, name: str, parts: Iterable[str], tasks: Mapping[int, ReadTask]) -> str:
    """Write tasks under a name that is not among those of other parts; return it."""
    last = max((int(part[5:-5]) for part in parts if part != LOG), default=0)
    part = f"part-{last + 1:06d}.json"
    values = {number: task.to_json() for number, task in tasks.items()}
    store.write_bytes(f"{FOLDER}/{name}/{part}", json.dumps(values, separators=(",", ":")).encode())
    return part


def _save(store: Store, name: str, log: TaskLog) -> TaskLog:
    values = {
        "reading": log.reading,
        "read_until": log.read_until.isoformat(),
        "all_read_at": log.all_read_at.isoformat(),
        "parts": log.parts,
    }
    store.write_json(f"{FOLDER}/{name}/{LOG}", values)
    return log


def _load(store: Store, name: str, reading: str) -> TaskLog | None:
    """Return what is known, or None if there is nothing, or it was read differently."""
    file = f"{FOLDER}/{name}/{LOG}"
    if not store.exists(file):
        return None
    values = store.read_json(file)
    if values["reading"] != reading:
        return None
    with _garbage_collection_paused():
        tasks = {
            int(number): ReadTask.from_json(task)
            for part in values["parts"]
            for number, task in store.read_json(f"{FOLDER}/{name}/{part}").items()
        }
    read_until, all_read_at = (datetime.fromisoformat(values[key]) for key in ("read_until", "all_read_at"))
    return TaskLog(reading, read_until, all_read_at, tuple(values["parts"]), tasks)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Make no collections while many objects are made of which none is garbage: they take most of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
