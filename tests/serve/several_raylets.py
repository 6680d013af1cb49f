"""A service on three raylets on this machine, one of which is killed, with all its processes, while annotators work.

python -m tests.serve.several_raylets FOLDER

Prints what came of it as JSON. A program of its own, because a process can use one Ray only.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_LOG_TO_STDERR="0")

import httpx
import ray
import torch
from PIL import Image
from ray import serve
from ray.cluster_utils import Cluster

from clickpose.checkpoints.model_folder import save_model
from clickpose.commands.serving import wait_until_ready
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from integrations.label_studio.server import free_port
from serve.app import AppArgs, build_app
from serve.haproxy import enable_haproxy
from serve.load.records import CLICKS, Log, failed, outcomes, percentile_ms
from serve.load.team import Team

SKELETON = Skeleton.load("coco17")
BEFORE_S, LIMIT_S = 4.0, 120.0
NUM_AFTER = 60  # clicks that must be answered after the death
PICTURES = {f"{k}.png": (160, 120) for k in range(8)}


def main() -> None:
    """Start the machines and the service, let annotators work, and print what happened."""
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    save_model(folder / "v1", ClickPose(tiny(len(SKELETON))), SKELETON, metrics={}, card="")
    for k, (name, size_wh) in enumerate(PICTURES.items()):
        Image.new("RGB", size_wh, (30 * k, 100, 100)).save(folder / name)
    enable_haproxy()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    victim, _ = cluster.add_node(num_cpus=2), cluster.add_node(num_cpus=2)
    ray.init(cluster.address, log_to_driver=False, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})
    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    settings: dict[str, Any] = {"replicas": 2, "ingresses": 2, "num_cpus": 0.7, "poll_s": 0.3}
    args = AppArgs(model=str(folder / "v1"), image_roots=(str(folder),), allow_anonymous=True, **settings)
    serve.run(build_app(args), route_prefix="/")
    url, log = f"http://127.0.0.1:{port}", Log()
    wait_until_ready(url)
    asyncio.run(annotate(url, log, lambda: cluster.remove_node(victim, allow_graceful=False)))
    slowest_ms = percentile_ms(log.requests, 100)
    result = {"requests": len(log.requests), "failed": outcomes(failed(log.requests)), "lost": log.lost}
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps(result | {"slowest_ms": slowest_ms}))


async def annotate(url: str, log: Log, kill: Callable[[], None]) -> None:
    """Let annotators work before the death, and after it until there are two replicas again."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        Team(PICTURES, http, SKELETON, log).working(5, every_s=0.3),
        asyncio.timeout(LIMIT_S),
    ):
        await asyncio.sleep(BEFORE_S)
        before, killed_s = await ready_replicas(http), log.now()
        await asyncio.to_thread(kill)
        while len(log.of(CLICKS, killed_s)) < NUM_AFTER or len(await ready_replicas(http) - before) < 1:
            await asyncio.sleep(0.5)


async def ready_replicas(http: httpx.AsyncClient) -> set[str]:
    """Return the names of the replicas that have loaded their model."""
    status = (await http.get("/v1/status")).json()
    return {replica["replica"] for replica in status["replicas"] if replica["version"]}


if __name__ == "__main__":
    main()
