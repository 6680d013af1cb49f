"""The service under test, as users run it, on a Ray of its own; and the faults it is exposed to."""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from clickpose.commands.serving import NAME, running_service
from integrations.label_studio.server import free_port
from serve.haproxy import BINARY, enable_haproxy
from serve.load.processes import cpu_seconds, running_processes, workers
from serve.load.transport import LightTransport
from serve.settings import AppArgs

ROOT = Path(__file__).parents[2]
VERSIONS = ("one", "two")  # the same weights under two names, to swap between
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
    """

    url: str
    secret: str
    store: Path
    images: Mapping[str, tuple[int, int]]

    def client(self) -> httpx.AsyncClient:
        """Return a client without a limit on connections."""
        return httpx.AsyncClient(
            base_url=self.url,
            auth=("clickpose", self.secret),
            transport=LightTransport(timeout_s=60),
        )

    def replicas(self) -> list[dict[str, Any]]:
        """Return the status of each replica."""
        return list(self._watcher.get("/v1/status").raise_for_status().json()["replicas"])

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor seconds of the replicas, the ingresses and HAProxy."""
        front = Path(os.environ[BINARY]).parent
        processes = {
            "replicas": workers(NAME, "poses"),
            "ingresses": workers(NAME, "ingress"),
            "haproxy": running_processes(str(front)),
        }
        return {part: sum(map(cpu_seconds, pids)) for part, pids in processes.items()}

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

    store, secret = scratch / "store", secrets.token_urlsafe(24)
    for version in VERSIONS:
        shutil.copytree(model, store / "models" / version)
    (store / "models" / "current").write_text(f"{VERSIONS[0]}\n")
    args = AppArgs.model_validate(
        {"store": str(store), "image_roots": [str(scratch / "pictures")], "secret": secret} | settings
    )
    ray.init(
        address="local",
        num_cpus=math.ceil(args.replicas * args.num_cpus) + 3,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
    )
    try:
        with running_service(args, host="127.0.0.1", port=free_port()) as url:
            yield Stand(url, secret, store, images)
    finally:
        ray.shutdown()
