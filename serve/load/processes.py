"""The processes of a service that was started here, and the processor time that they have used; only on Linux."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def workers(application: str, deployment: str) -> set[int]:
    """Return the processes of a deployment, of the Ray that this process has started."""
    found = running_processes(f"ray::ServeReplica:{application}:{deployment}")
    return {pid for pid in found if _parent(_parent(pid)) == os.getpid()}


def running_processes(words: str) -> set[int]:
    """Return the processes whose command line contains some words."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if words in (process / "cmdline").read_text():
                found.add(int(process.name))
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process and all its threads."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """Return what Linux knows about a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
