"""Which Ray is used: the cluster that ``RAY_ADDRESS`` names, else one that ``ray start`` started here, else our own."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clickpose.errors import ClickPoseError
from pipeline.autoscaler import could_have
from pipeline.lost_cluster import end_when_gone

OBJECT_STORE_BYTES = 200 * 2**20  # only names and counts are sent between our workers, never images
MIN_CPUS = 4  # Ray Data stalls silently when its actors hold every logical CPU; these are only counted, not bound
ANSWER_S = 10.0
NOTICES = "ray._private.authentication", "ray.data._internal.progress"  # loggers: token in use, bars switched off
GRACE_S = 5.0  # for processes to end by themselves when Ray stops
RAYLET = "raylet"
ADDRESS_FILE = "ray/ray_current_cluster"  # ray start writes it into the folder of temporary files
TOKEN_SETTINGS = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE = ".ray/auth_token"  # in the home folder; Ray writes it when a program starts a Ray of its own


def show_token() -> None:
    """Show Ray's token, if there is one, to every cluster; to be called before Ray is imported.

    Once there is a token, clusters of ``ray start`` ask for it, but Ray shows it only if it is told to. Clusters that
    ask for none ignore it.
    """
    if any(map(os.environ.get, TOKEN_SETTINGS)) or (Path.home() / TOKEN_FILE).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def connect() -> None:
    """Connect this process to Ray, unless it is connected already.

    A cluster started here ends with the process. It is protected by Ray's own token, in the home folder. Of Ray's
    messages only warnings are shown, without those about its token and its progress bars. If a cluster that was joined
    dies, this process ends: see ``lost_cluster``.

    Raises:
        ClickPoseError: the cluster that ``RAY_ADDRESS`` names does not answer or refuses the connection.
    """
    import ray

    if ray.is_initialized():
        return
    for notice in NOTICES:
        logging.getLogger(notice).setLevel(logging.ERROR)
    wanted = os.environ.get("RAY_ADDRESS") or "auto"
    address = started_here() if wanted == "auto" else wanted
    with _own_sigterm():
        if address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(
                address="local",
                num_cpus=max(MIN_CPUS, os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
            return
        if not answers(address):
            raise ClickPoseError(f"no Ray cluster answers at {address}: is RAY_ADDRESS right, and its head running?")
        try:
            ray.init(address=address, logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ClickPoseError(
                f"the Ray cluster at {address} cannot be joined: {reason};"
                " if it asks for a token, copy ~/.ray/auth_token from its head, or set RAY_AUTH_TOKEN"
            ) from error
    end_when_gone(address, answers)


def disconnect() -> None:
    """Leave Ray; if ``connect`` has started it, every process of it has ended when this returns.

    Ray itself stops its servers only. What the raylet started ends by itself, but on a busy machine not soon: an agent
    that sees its raylet die after the GCS tries for a minute to report that.
    """
    import ray

    started = _started_by_raylet()
    ray.shutdown(wait_for_processes=True)
    _end(started)


def _started_by_raylet() -> list[Any]:
    """Return the workers and agents of a Ray that this process has started, as processes of psutil."""
    import psutil  # Ray brings it

    ours = psutil.Process().children()
    return [one for raylet in ours if raylet.name() == RAYLET for one in raylet.children(recursive=True)]


def _end(processes: list[Any]) -> None:
    import psutil

    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)


def started_here() -> str | None:
    """Return the address of the Ray that ``ray start`` started on this machine, if it still answers."""
    file = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / ADDRESS_FILE
    address = file.read_text().strip() if file.is_file() else ""
    return address if address and answers(address) else None


def answers(address: str) -> bool:
    """Tell whether a gRPC server, as a cluster's head is, answers at ``HOST:PORT`` or ``ray://HOST:PORT``.

    Ray itself would keep trying for minutes.
    """
    import grpc

    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        if parts.port is None or os.environ.get("RAY_USE_TLS", "0") != "0":
            return True  # an address of another kind, or a handshake that only Ray can do
        with grpc.insecure_channel(f"{parts.hostname}:{parts.port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
    except (grpc.FutureTimeoutError, ValueError):
        return False
    return True


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this program's SIGTERM handler: Ray's own, set on connecting, aborts without cleaning up."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def free_workers(gpus_each: float) -> int:
    """Return how many workers with one CPU and ``gpus_each`` GPUs fit now or after scaling up.

    One CPU is left for everything else.
    """
    cpus = max(1, int(_at_most("CPU")) - 1)
    return min(cpus, int(_at_most("GPU") / gpus_each)) if gpus_each else cpus


def gpus_of_worker(asked: float | None) -> float:
    """Return how many GPUs a worker gets if nothing was ``asked``: 1 if the connected cluster has any.

    That includes those on nodes that the cluster's autoscaler could start.
    """
    return float(_at_most("GPU") >= 1) if asked is None else asked


def _at_most(name: str) -> float:
    """Return the amount of a resource, including all nodes that the autoscaler may start."""
    import ray

    return max(float(ray.cluster_resources().get(name, 0.0)), could_have().get(name, 0.0))
