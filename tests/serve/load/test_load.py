"""The simulated annotator notices what is lost, and the load test runs all its phases."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any, ClassVar

import httpx
import pytest
from PIL import Image
from ray import serve

from clickpose.errors import NotReady
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from serve.app import AppArgs, image_source, model_source
from serve.load.annotator import LoadAnnotator
from serve.load.phases import Plan, play
from serve.load.records import CLICKS, Log, failed, outcomes
from serve.replica.replica import PoseReplica
from serve.web.ingress import build_api
from serve.web.remote import RemotePoseService

SIZE_WH = (160, 120)


class Forgetful(RemotePoseService):
    """Treats every edit as the first one of a new annotator."""

    numbers = itertools.count()

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        return await super().edit(replace(screen, session=f"nobody {next(self.numbers)}", earlier_session=""), edit)


class Refusing(RemotePoseService):
    """Rejects every third edit."""

    numbers = itertools.count()

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        if next(self.numbers) % 3 == 0:
            raise NotReady("not now")
        return await super().edit(screen, edit)


@pytest.fixture
def args(tmp_path: Any, write_model: Any, point_to: Any) -> AppArgs:
    write_model(tmp_path / "models" / "v1")
    point_to(tmp_path, "v1")
    Image.new("RGB", SIZE_WH, "teal").save(tmp_path / "one.png")
    return AppArgs(store=str(tmp_path), image_roots=(str(tmp_path),), allow_anonymous=True)


class LocalStand:
    """The service in this process; what happens to it is only noted."""

    images: ClassVar = {"one.png": SIZE_WH}

    def __init__(self, service: RemotePoseService, args: AppArgs) -> None:
        self.service, self.args, self.faults, self.seconds = service, args, list[str](), 0.0

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(build_api(self.service, self.args))
        return httpx.AsyncClient(transport=transport, base_url="http://here", auth=("clickpose", "secret"))

    def replicas(self) -> list[dict[str, Any]]:
        return [{"replica": "one", "memory_bytes": 2**20, "cache_hits": 5, "cache_misses": 1}]

    def cpu_seconds(self) -> dict[str, float]:
        self.seconds += 1.5
        return {"replicas": self.seconds}

    def kill_replica(self) -> None:
        self.faults.append("replica")

    def kill_ingress(self) -> None:
        self.faults.append("ingress")

    def kill_controller(self) -> None:
        self.faults.append("controller")

    def swap(self) -> None:
        self.faults.append("model")


def annotate(kind: type[RemotePoseService], args: AppArgs, skeleton: Any, load_fake: Any, *, drags: bool) -> Log:
    """Let an annotator place eight keypoints."""
    replicas = serve.run(
        serve.deployment(PoseReplica).bind(args, skeleton, model_source(args), image_source(args), load_fake),
        _local_testing_mode=True,
    )
    service, log = kind(replicas, skeleton, first_version="v1", timeout_s=10), Log()

    async def work() -> None:
        transport = httpx.ASGITransport(build_api(service, args))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            annotator = LoadAnnotator(0, client, skeleton, log, every_s=0.0, drags=drags)
            await annotator.annotate(1, "one.png", SIZE_WH, 8)

    asyncio.run(work())
    return log


@pytest.mark.parametrize("drags", [False, True])
def test_the_simulated_annotator_reports_no_loss_where_there_is_none(
    args: AppArgs, skeleton: Any, load_fake: Any, drags: bool
) -> None:
    log = annotate(RemotePoseService, args, skeleton, load_fake, drags=drags)
    assert log.placed == len(log.of(CLICKS)) == 8
    assert not log.lost and not failed(log.requests)
    assert log.seen == {("one.png", "v1")}


def test_the_simulated_annotator_notices_a_service_that_loses_clicks(
    args: AppArgs, skeleton: Any, load_fake: Any
) -> None:
    log = annotate(Forgetful, args, skeleton, load_fake, drags=False)
    assert log.lost and not failed(log.requests)


def test_the_simulated_annotator_repeats_a_click_without_effect(
    args: AppArgs, skeleton: Any, load_fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.load.annotator.RETRY_AFTER_S", 0.0)
    log = annotate(Refusing, args, skeleton, load_fake, drags=False)
    assert outcomes(failed(log.requests)) == {"swallowed": 4}
    assert log.placed == 8 and not log.lost


def test_the_load_test_runs_all_its_phases(args: AppArgs, skeleton: Any, load_fake: Any) -> None:
    replicas = serve.run(
        serve.deployment(PoseReplica).bind(args, skeleton, model_source(args), image_source(args), load_fake),
        _local_testing_mode=True,
    )
    stand = LocalStand(RemotePoseService(replicas, skeleton, first_version="v1", timeout_s=10), args)
    plan = Plan(annotators=2, every_s=0.1, seconds=0.1, fault_seconds=1.0, flood_seconds=0.2, endurance_clicks=200)
    told = list[str]()
    record = asyncio.run(play(stand, skeleton, plan, told.append))
    assert list(record.marks) == ["work", "faults", "flood", "recovery", "endurance", "end"]
    assert stand.faults == ["replica", "model", "ingress", "controller", "model"]
    assert record.clicks() >= 200 and record.recovered_s is not None and record.memory["one"]
    assert record.cpu_s == {"replicas": 1.5} and record.encoded == {"one": (5, 1)}
    assert told[-1] == "endurance" and not record.log.lost
