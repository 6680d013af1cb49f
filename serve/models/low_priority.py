"""Threads for work that others do not wait for: what a click needs goes first."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

NICENESS = 5


def low_priority_thread(name: str) -> ThreadPoolExecutor:
    """Return an executor of one thread that gives way to all others; Linux, unlike others, can say so of a thread."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=name, initializer=_give_way)


def _give_way() -> None:
    if sys.platform == "linux":
        os.nice(NICENESS)
