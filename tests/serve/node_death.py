"""A service on three machines that are simulated on this one; one of them dies while annotators work.

``python -m tests.serve.node_death FOLDER`` needs a Ray of its own. It prints what failed, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
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
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from integrations.label_studio.server import free_port
from serve.app import AppArgs, build_app
from serve.haproxy import enable_haproxy
from serve.load.records import CLICKS, Log, failed, outcomes, percentile_ms
from serve.load.team import Team

SKELETON = Skeleton.load("coco17")
BEFORE_S = 4.0
NUM_AFTER, LIMIT_S = 30, 100.0  # clicks that must be answered after the death, and the seconds for all
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
    log = Log()
    asyncio.run(annotate(f"http://127.0.0.1:{port}", log, lambda: cluster.remove_node(victim, allow_graceful=False)))
    slowest_ms = percentile_ms(log.requests, 100)
    result = {"failed": outcomes(failed(log.requests)), "lost": log.lost, "slowest_ms": slowest_ms}
    print(json.dumps(result))
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


async def annotate(url: str, log: Log, kill: Any) -> None:
    """Let annotators work before, during and after the death."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        Team(PICTURES, http, SKELETON, log).working(5, every_s=0.3),
        asyncio.timeout(LIMIT_S),
    ):
        await asyncio.sleep(BEFORE_S)
        killed_s = log.now()
        await asyncio.to_thread(kill)
        while sum(click.outcome == "ok" for click in log.of(CLICKS, killed_s)) < NUM_AFTER:
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    main()
