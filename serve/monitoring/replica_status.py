"""What one replica says of itself, and of an answer."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from integrations.label_studio.service import PoseAnswer

STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Reply:
    """An answer, and how it came about.

    Attributes:
        answer: for whoever asked.
        found_encoded: whether the picture was encoded already.
        number: of an edit's answer within its session.
    """

    answer: PoseAnswer
    found_encoded: bool
    number: int = 0


@dataclass(frozen=True)
class ReplicaStatus:
    """A replica's model, and what it holds.

    Attributes:
        version: the model version being served, None while the first one loads.
        refused: a version that was wanted and cannot be served.
        problem: why the wanted version is not served, empty if it is.
        cached_images: encoded pictures held.
        cached_bytes: memory that they keep.
        cache_hits: requests that found their picture encoded.
        cache_misses: requests whose picture had to be encoded.
        sessions: annotators' screens remembered.
        queue: steps that wait for the model, or run.
        replica: names it: its machine and process.
        pid: its process.
        memory_bytes: resident memory of the process; 0 where that cannot be told.
    """

    version: str | None
    refused: str | None
    problem: str
    cached_images: int
    cached_bytes: int
    cache_hits: int
    cache_misses: int
    sessions: int
    queue: int
    replica: str
    pid: int
    memory_bytes: int


def name_of_process() -> str:
    """Return a name that no other live replica has."""
    return f"{socket.gethostname()}-{os.getpid()}"


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not tell."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0
