"""The log of a data folder: what would distract an annotator, and what helps to find a fault."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

STDERR = 2  # also written by libraries in C++


@contextmanager
def messages_in(log: Path) -> Iterator[None]:
    """Append log lines, and what libraries print as errors, to a file until the block ends.

    Progress bars, and whatever else is written to ``sys.stderr`` meanwhile, still reach the terminal.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    with open(os.dup(STDERR), "w", buffering=1) as terminal, log.open("a") as file:
        os.dup2(file.fileno(), STDERR)
        try:
            with redirect_stderr(terminal):
                yield
        finally:
            os.dup2(terminal.fileno(), STDERR)
