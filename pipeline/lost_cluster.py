"""End this process when the Ray cluster that it has joined is gone.

Ray itself does that after a minute, with a message that does not say what to do. Who waits for a head that is restarted
sets Ray's own limit, ``RAY_gcs_rpc_server_reconnect_timeout_s``, and then only that one counts.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

CHECK_S = 5.0
MISSES = 2  # checks in a row without an answer, of ten seconds each
OWN_LIMIT = "RAY_gcs_rpc_server_reconnect_timeout_s"


def end_when_gone(address: str, answers: Callable[[str], bool]) -> None:
    """Check in a thread whether a cluster still answers, until this process has left Ray."""
    if OWN_LIMIT not in os.environ:
        threading.Thread(target=check_until_gone, args=(address, answers), daemon=True).start()


def check_until_gone(address: str, answers: Callable[[str], bool]) -> None:
    """Check whether a cluster still answers, and end this process if it does not; return if it has left Ray."""
    import ray

    misses = 0
    while misses < MISSES:
        time.sleep(0 if misses else CHECK_S)
        if not ray.is_initialized():
            return
        misses = 0 if answers(address) else misses + 1
    print(f"clickpose: the Ray cluster at {address} is gone: run the same command again to resume", file=sys.stderr)
    sys.stderr.flush()
    os._exit(os.EX_UNAVAILABLE)  # anything more orderly would wait for the cluster
