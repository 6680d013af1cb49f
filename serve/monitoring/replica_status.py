"""What a replica reports: its status, and with each answer how it was obtained."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

import ray

from integrations.label_studio.service import PoseAnswer
from serve.monitoring.timing import Parts

STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Reply:
    """A replica's answer.

    Attributes:
        answer: the answer for the caller.
        found_encoded: whether the image was encoded already.
        number: number of an edit's answer within its session.
        machine: the replica's.
        parts_ms: where the time went in the replica.
    """

    answer: PoseAnswer
    found_encoded: bool
    number: int = 0
    machine: str = ""
    parts_ms: Parts = field(default_factory=dict)


@dataclass(frozen=True)
class ReplicaStatus:
    """A replica's model and memory.

    Attributes:
        version: version of the current model, None while the first one loads.
        refused: promoted version that cannot be served.
        problem: why the promoted version is not served; empty if it is.
        image_bytes: memory that an encoded photo with three persons takes; 0 while the first model loads.
        cached_images: number of encoded images.
        cached_bytes: their memory.
        cache_hits: requests whose image was encoded already.
        cache_misses: requests whose image had to be encoded.
        sessions: number of annotators' sessions.
        queue: steps that run or wait for the model.
        replica: its machine and process.
        pid: its process id.
        memory_bytes: resident memory of the process; 0 where it is unknown.
    """

    version: str | None
    refused: str | None
    problem: str
    image_bytes: int
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
    """Return a name that is unique among running replicas."""
    return f"{socket.gethostname()}-{os.getpid()}"


def name_of_machine() -> str:
    """Return Ray's name of this machine: several of its machines may be simulated on one."""
    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else socket.gethostname()


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where it is unknown."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0
