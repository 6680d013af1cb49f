"""The number of replicas follows the load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image
from ray import serve

from clickpose.checkpoints.model_folder import save_model
from clickpose.commands.serve import ServeOptions
from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from serve.app import AppArgs, build_app
from serve.load.records import Log, failed, outcomes
from serve.load.team import Team

LIMIT_S = 90
PICTURES = {f"{k}.png": (160, 120) for k in range(12)}


@pytest.fixture
def url(serve_url: str, tmp_path: Path, skeleton: Skeleton) -> Iterator[str]:
    """A service that grows from one replica to three."""
    torch.manual_seed(0)
    save_model(tmp_path / "v1", ClickPose(tiny(len(skeleton))), skeleton, metrics={}, card="")
    for k, (name, size_wh) in enumerate(PICTURES.items()):
        Image.new("RGB", size_wh, (20 * k, 100, 100)).save(tmp_path / name)
    settings = {"num_cpus": 0.5, "poll_s": 0.3, "max_replicas": 3, "scale_up_after_s": 1.0, "scale_down_after_s": 4.0}
    args = AppArgs(model=str(tmp_path / "v1"), image_roots=(str(tmp_path),), allow_anonymous=True, **settings)
    serve.run(build_app(args), name="scaling", route_prefix="/")
    yield serve_url
    serve.delete("scaling")


@pytest.mark.cluster
def test_replicas_are_added_and_removed_without_a_failed_request_or_a_lost_click(url: str, skeleton: Skeleton) -> None:
    log, encoded = Log(), list[int]()

    async def replicas(http: httpx.AsyncClient) -> list[dict[str, Any]]:
        return list((await http.get("/v1/status")).json()["replicas"])

    async def annotate() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http, asyncio.timeout(LIMIT_S):
            team = Team(PICTURES, http, skeleton, log)
            async with team.working(1, every_s=0.3):
                async with team.working(12, every_s=0.0, first=1):
                    while len(await replicas(http)) < 3:
                        await asyncio.sleep(0.5)
                    await asyncio.sleep(2)
                    encoded.extend(replica["cache_misses"] for replica in await replicas(http))
                while len(await replicas(http)) > 1:
                    await asyncio.sleep(0.5)

    asyncio.run(annotate())
    assert not failed(log.requests), outcomes(log.requests)
    assert not log.lost and log.placed > 50
    moved = sum(encoded) - len(PICTURES)  # those encoded just before a replica was added were not reported yet
    assert moved <= len(PICTURES) // 4, "images moved to the replicas that were added"


def test_a_range_of_replicas_is_read(tmp_path: Path) -> None:
    def args(replicas: str) -> AppArgs:
        return ServeOptions(model=str(tmp_path), replicas=replicas, allow_anonymous=True).app_args()

    assert (args("2").replicas, args("2").max_replicas) == (2, None)
    assert (args("1..8").replicas, args("1..8").max_replicas) == (1, 8)
    for wrong in ("8..1", "0", "many", "1..many"):
        with pytest.raises(InvalidConfig):
            args(wrong)
