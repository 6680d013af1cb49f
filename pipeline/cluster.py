"""Ray where we find it: the cluster that ``RAY_ADDRESS`` names, or a small one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OBJECT_STORE_BYTES = 200 * 2**20  # only names and counts travel between our workers, never pictures
FEWEST_CPUS = 4  # Ray Data stalls silently when its actors hold every logical CPU; these are only counted, not bound


def connect() -> None:
    """Connect this process to Ray, unless it is connected already.

    A cluster started here ends with the process. It keeps Ray's own protection: a token, in the home folder. Of Ray's
    own messages only warnings are shown.
    """
    import ray

    if ray.is_initialized():
        return
    with _own_sigterm():
        if os.environ.get("RAY_ADDRESS"):
            ray.init(logging_level=logging.WARNING)
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=max(FEWEST_CPUS, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this program's answer to SIGTERM: Ray's own, set on connecting, aborts and cleans nothing up."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def free_workers() -> int:
    """Return how many workers of one CPU, and one GPU where there are any, the cluster has room for.

    A CPU is left for everything else.
    """
    cpus = max(1, int(_resource("CPU")) - 1)
    return min(cpus, int(_resource("GPU"))) if has_gpu() else cpus


def has_gpu() -> bool:
    """Whether the connected cluster has a GPU at all."""
    return _resource("GPU") >= 1


def _resource(name: str) -> float:
    import ray

    return float(ray.cluster_resources().get(name, 0.0))
