"""Threads of low priority, for work that must not delay clicks."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

NICENESS = 10  # beside a busy program, a tenth of a core: images still open while a model is trained there


def low_priority_thread(name: str) -> ThreadPoolExecutor:
    """Return an executor with one thread of low priority; only Linux can set the priority of a single thread."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=name, initializer=_lower_priority)


def _lower_priority() -> None:
    if sys.platform == "linux":
        os.nice(NICENESS)
