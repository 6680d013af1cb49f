"""What happens to a round's process: it is killed, or its disk is full."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

KILLED, DISK_FULL, LOST_WEBHOOKS = 2, 7, (4, 8)  # rounds
FULL_DISK_BYTES = 500_000  # the largest file that can still be written


def run_killed(command: Sequence[str], store: Path) -> None:
    """Run a round and kill it, as signal 9 does, as soon as its training has begun."""
    process = subprocess.Popen(command)
    while process.poll() is None and not list(store.glob("runs/*/training.json")):
        time.sleep(0.2)
    process.kill()
    process.wait()


def run_on_full_disk(command: Sequence[str]) -> int:
    """Run a round that can write no larger file, as if the disk were nearly full; return its exit status."""
    return subprocess.Popen(command, preexec_fn=_fill_disk).wait()


def _fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, FULL_DISK_BYTES))
