"""One writer at a time: a lease on a store, or on any folder or bucket that a long task writes to.

lease.json   {"token": ..., "owner": "host, process 17", "task": "retraining", "since": ..., "beat_at": ...}

The holder renews it every few seconds. A lease that was not renewed for a minute has expired; on the holder's machine
it also ends with the holder's process, so that a crashed task can be run again at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from clickpose.errors import StoreError, StoreInUse
from integrations.store import explained
from pipeline.store import Store

logger = logging.getLogger(__name__)

LEASE = "lease.json"
BEAT_S, EXPIRES_S = 10.0, 60.0
SETTLE_S = 2.0  # in a bucket: time after which we see another process's write that started before it could see ours


@dataclass(frozen=True)
class Lease:
    """The process that writes to a store.

    Attributes:
        token: unique, so that a holder recognises its own lease.
        host: machine of the holder.
        pid: process of the holder on that machine.
        task: of the holder, such as "retraining".
        since: ISO 8601 time in UTC.
        beat_at: seconds since 1970 when it was last renewed.
    """

    token: str
    host: str
    pid: int
    task: str
    since: str
    beat_at: float

    def is_over(self) -> bool:
        """Whether the lease has expired: it was not renewed, or its holder's process on this machine has ended."""
        if time.time() - self.beat_at > EXPIRES_S:
            return True
        if self.host != socket.gethostname():
            return False
        return self.token not in _held if self.pid == os.getpid() else not _runs(self.pid)


_held: set[str] = set()  # tokens of this process


@contextmanager
def lease(store: Store, task: str) -> Iterator[Callable[[], None]]:
    """Hold the lease of a store while the block runs.

    Args:
        store: to be written to.
        task: shown to other processes, such as "retraining".

    Yields:
        A function that raises StoreInUse if the lease was lost, for example because the machine was suspended for a
        minute: call it before anything that must not be done twice.

    Raises:
        StoreInUse: another process holds it; the message says which and since when.
        StoreError: the store cannot be written.
    """
    mine = _take(store, task)
    done = threading.Event()
    beats = threading.Thread(target=_renew, args=(store, mine, done), daemon=True)
    beats.start()
    try:
        yield lambda: _check(store, mine)
    finally:
        done.set()
        beats.join()
        _held.discard(mine.token)
        if (found := _read(store)) and found.token == mine.token:
            store.delete(LEASE)


def _take(store: Store, task: str) -> Lease:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    mine = Lease(uuid.uuid4().hex, socket.gethostname(), os.getpid(), task, since, time.time())
    with _alone(store):
        found = _read(store)
        if found and not found.is_over():
            raise _in_use(store, found)
        _held.add(mine.token)
        _write(store, mine)
    if not store.is_local:
        time.sleep(SETTLE_S)
        _check(store, mine)
    return mine


def _renew(store: Store, mine: Lease, done: threading.Event) -> None:
    while not done.wait(BEAT_S):
        try:
            _check(store, mine)
            _write(store, replace(mine, beat_at=time.time()))
        except StoreInUse:
            return
        except StoreError as error:  # the store may be reachable again at the next beat
            logger.warning("the lease was not renewed: %s", error)


def _check(store: Store, mine: Lease) -> None:
    found = _read(store)
    if found is None or found.token != mine.token:
        raise _in_use(store, found)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Lock the lease file for one process at a time, if the file system supports it."""
    if not store.is_local:
        yield
        return
    folder = Path(store.path_of(""))
    with explained(store.uri, "written to"):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f".{LEASE}.lock").open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(store: Store) -> Lease | None:
    try:
        return Lease(**store.read_json(LEASE)) if store.exists(LEASE) else None
    except (StoreError, TypeError) as error:  # deleted in between, or written by another version
        logger.warning("the lease on %s cannot be read and is ignored: %s", store.uri, error)
        return None


def _write(store: Store, mine: Lease) -> None:
    store.write_json(LEASE, asdict(mine))


def _in_use(store: Store, found: Lease | None) -> StoreInUse:
    if found is None:
        return StoreInUse(f"the lease on {store.uri} was lost: run the command again")
    holder = f"process {found.pid} on {found.host}"
    return StoreInUse(f"{store.uri} is in use by {holder}, {found.task} since {found.since}: try again later")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another user
    return True
