"""The service under test, as users run it, on a Ray of its own; and the faults it is exposed to."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from serve.haproxy import BINARY, enable_haproxy
from serve.settings import AppArgs

ROOT = Path(__file__).parents[2]
VERSIONS = ("one", "two")  # the same weights under two names, to swap between
POLL_S = 1.0
SURROUNDINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}


@dataclass(frozen=True)
class Stand:
    """A running service.

    Attributes:
        url: of the service.
        secret: of the service.
        store: with the models.
        images: sizes of the images it can read, by name.
        ingresses: number of ingresses.
    """

    url: str
    secret: str
    store: Path
    images: Mapping[str, tuple[int, int]]
    ingresses: int = 1

    def client(self) -> httpx.AsyncClient:
        """Return a client without a limit on connections."""
        return httpx.AsyncClient(
            base_url=self.url,
            auth=("clickpose", self.secret),
            timeout=60,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    def replicas(self) -> list[dict[str, Any]]:
        """Return the status of each replica."""
        return list(self._watcher.get("/v1/status").raise_for_status().json()["replicas"])

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor seconds of the replicas, the ingresses and HAProxy."""
        processes = {
            "replicas": [replica["pid"] for replica in self.replicas()],
            "ingresses": {self._ingress() for _ in range(10 * self.ingresses)},
            "haproxy": [*_processes_below(Path(os.environ[BINARY]).parent)],
        }
        return {part: sum(map(_cpu_seconds, pids)) for part, pids in processes.items()}

    def _ingress(self) -> int:
        """Return the process of the ingress that answers."""
        status = self._watcher.get("/v1/status").raise_for_status().json()
        return int(status["ingress"].rpartition("-")[2])

    @cached_property
    def _watcher(self) -> httpx.Client:
        """One client for all requests: creating one takes long enough to delay the annotators in the same process."""
        return httpx.Client(base_url=self.url, auth=("clickpose", self.secret), timeout=10)

    def kill_replica(self) -> None:
        """Kill the process of one replica."""
        os.kill(self.replicas()[0]["pid"], signal.SIGKILL)

    def kill_ingress(self) -> None:
        """Kill the process of the ingress that answers."""
        os.kill(self._ingress(), signal.SIGKILL)

    def kill_controller(self) -> None:
        """Kill Serve's controller, which starts and watches the replicas."""
        import ray

        ray.kill(ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve"), no_restart=False)

    def swap(self) -> None:
        """Promote the other version."""
        pointer = self.store / "models" / "current"
        other = next(version for version in VERSIONS if version != pointer.read_text().strip())
        unfinished = pointer.with_name("unfinished")
        unfinished.write_text(f"{other}\n")
        unfinished.replace(pointer)


@contextmanager
def running(model: Path, scratch: Path, images: Mapping[str, tuple[int, int]], **settings: Any) -> Iterator[Stand]:
    """Serve a model until the block ends; ``scratch`` contains the images in ``pictures/``."""
    os.environ.update({name: os.environ.get(name, value) for name, value in SURROUNDINGS.items()})
    enable_haproxy()
    import ray

    from clickpose.commands.serving import running_service
    from integrations.label_studio.server import free_port

    store, secret = scratch / "store", secrets.token_urlsafe(24)
    for version in VERSIONS:
        shutil.copytree(model, store / "models" / version)
    (store / "models" / "current").write_text(f"{VERSIONS[0]}\n")
    args = AppArgs.model_validate(
        {"store": str(store), "image_roots": [str(scratch / "pictures")], "secret": secret, "poll_s": POLL_S} | settings
    )
    ray.init(
        address="local",
        num_cpus=args.replicas * args.num_cpus + 3,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
    )
    try:
        with running_service(args, host="127.0.0.1", port=free_port()) as url:
            yield Stand(url, secret, store, images, args.ingresses)
    finally:
        ray.shutdown()


def _processes_below(folder: Path) -> Iterator[int]:
    """Yield the processes whose command line names a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if str(folder) in (process / "cmdline").read_text():
                yield int(process.name)


def _cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
