"""The service as users run it: a real Ray Serve, a real model, HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from ray import serve

from clickpose.checkpoints.model_folder import save_model
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from integrations.label_studio.simulated_editor import SimulatedEditor
from serve.app import AppArgs, build_app
from serve.load.flood import flood
from serve.load.processes import workers
from serve.load.records import CLICKS, Log, failed, outcomes
from serve.load.team import Team

SECRET = "open sesame"
NAMES = ("0.png", "1.png")
CLIENT = Path(__file__).parents[2] / "examples" / "rest_client.py"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, skeleton: Skeleton, point_to: Any) -> Path:
    """A store with two small random models and a broken one, and two images beside it."""
    root = tmp_path_factory.mktemp("store")
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        network = ClickPose(tiny(len(skeleton)))
        save_model(root / "models" / f"v{seed}", network, skeleton, metrics={}, card="random")
    (root / "models" / "v3" / "weights.safetensors").write_bytes(b"broken")
    point_to(root, "v1")
    people = DrawnPeople(Skeleton.load("coco17"), num_images=2, size_wh=(160, 120), max_persons=2)
    for name, image in zip(NAMES, people.annotations.images, strict=True):
        people.load_image(image).save(root / name)
    return root


@pytest.fixture(scope="module")
def client(serve_url: str, store: Path) -> Iterator[httpx.Client]:
    args = AppArgs(
        store=str(store), image_roots=(str(store),), secret=SECRET, replicas=2, ingresses=2, num_cpus=0.5, poll_s=0.3
    )
    serve.run(build_app(args), name="clickpose", route_prefix="/")
    with httpx.Client(base_url=serve_url, headers={"Authorization": f"Bearer {SECRET}"}, timeout=100) as client:
        yield client
    serve.delete("clickpose")


class Load:
    """A client that continually requests predictions and refinements of both images."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.answers: Counter[tuple[int, str]] = Counter()
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        for step in range(1_000_000):
            if self._stop.is_set():
                return
            started = time.monotonic()
            answer = self.client.post("/v1/detect", json={"image": NAMES[step % 2]})
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            version = answer.json()["model_version"] if answer.status_code == 200 else answer.text
            self.answers[answer.status_code, version] += 1
            time.sleep(0.02)


def wait_for(condition: Callable[[], bool], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.mark.cluster
def test_annotation_continues_through_a_promotion_and_a_broken_model(
    client: httpx.Client, store: Path, point_to: Any
) -> None:
    def status() -> dict[str, Any]:
        return dict(client.get("/v1/status").json())

    assert client.get("/health", headers={"Authorization": ""}).json()["status"] == "UP"
    assert client.post("/v1/detect", json={"image": "0.png"}, headers={"Authorization": ""}).status_code == 401
    wait_for(lambda: [replica["version"] for replica in status()["replicas"]] == ["v1", "v1"])

    found = {name: client.post("/v1/detect", json={"image": name}).json() for name in NAMES}
    assert all(answer["model_version"] == "v1" and answer["poses"] for answer in found.values())

    first = refine(client, "0.png", found["0.png"]["poses"], "left_hand", (40.25, 50.5))
    second = refine(client, "0.png", first, "right_foot", (90.5, 100.125))
    assert second[0]["keypoints_px"][1] == [40.25, 50.5] and second[0]["keypoints_px"][4] == [90.5, 100.125]
    assert second[0]["held"] == [False, True, False, False, True]
    assert second[1:] == found["0.png"]["poses"][1:]
    wait_for(lambda: sum(replica["cache_misses"] for replica in status()["replicas"]) == 2)

    with Load(client) as load:
        wait_for(lambda: load.answers[200, "v1"] >= 20)
        point_to(store, "v2")
        wait_for(lambda: load.answers[200, "v2"] >= 20 and status()["model_version"] == "v2")
        point_to(store, "v3")
        wait_for(lambda: [replica["refused"] for replica in status()["replicas"]] == ["v3", "v3"])
        served = load.answers[200, "v2"]
        wait_for(lambda: load.answers[200, "v2"] >= served + 20)
    assert set(load.answers) == {(200, "v1"), (200, "v2")}, load.answers
    assert "v3" in status()["replicas"][0]["problem"]
    print(f"answers {dict(load.answers)}, the longest took {load.longest_s:.2f} s")


@pytest.mark.cluster
def test_killing_a_replica_during_an_annotation_loses_no_placed_keypoint(
    client: httpx.Client, skeleton: Skeleton
) -> None:
    editor, task = open_task(client, "1.png", skeleton)
    places = {"nose": (20.5, 30.25), "left_hand": (40.0, 50.0), "right_hand": (60.25, 70.0)}
    for keypoint, xy_px in places.items():
        click(client, editor, task, keypoint, xy_px)
    wait_for(lambda: any(replica["sessions"] for replica in replicas(client)))
    (pid,) = (replica["pid"] for replica in replicas(client) if replica["sessions"])
    os.kill(pid, signal.SIGKILL)

    places["left_foot"] = (80.0, 90.0)
    # no draft was saved, and a click does not contain the others
    click(client, editor, task, "left_foot", places["left_foot"])
    held = {(k, *pose.keypoints_px[k].round(2).tolist()) for pose in editor.poses() for k in np.flatnonzero(pose.held)}
    assert held == {(skeleton.index(keypoint), *xy_px) for keypoint, xy_px in places.items()}
    wait_for(lambda: len(replicas(client)) == 2 and pid not in {replica["pid"] for replica in replicas(client)})


@pytest.mark.cluster
def test_killing_ingresses_and_a_replica_fails_no_request_and_loses_no_click(
    client: httpx.Client, skeleton: Skeleton
) -> None:
    log = Log()

    async def annotate() -> None:
        async with (
            httpx.AsyncClient(base_url=client.base_url, auth=("clickpose", SECRET), timeout=60) as http,
            Team(dict.fromkeys(NAMES, (160, 120)), http, skeleton, log).working(6, every_s=0.2),
        ):
            for kill in (kill_ingress, kill_replica, kill_ingress):
                await asyncio.sleep(2)
                await asyncio.to_thread(kill, client)
            await asyncio.sleep(2)

    asyncio.run(annotate())
    assert not failed(log.requests), outcomes(log.requests)
    assert not log.lost and log.placed > 50


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_front_is_started_again_and_no_click_is_lost_when_it_is_killed(
    client: httpx.Client, skeleton: Skeleton
) -> None:
    log = Log()

    async def annotate() -> None:
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=client.base_url, auth=("clickpose", SECRET), timeout=60) as http,
            Team(dict.fromkeys(NAMES, (160, 120)), http, skeleton, log).working(6, every_s=0.2),
        ):
            await asyncio.sleep(2)
            for process, _ in fronts(client):
                os.kill(int(process.name), signal.SIGKILL)
            killed_s = log.now()
            while not any(click.outcome == "ok" for click in log.of(CLICKS, killed_s)):
                await asyncio.sleep(0.5)
            await asyncio.sleep(2)

    asyncio.run(annotate())
    assert failed(log.requests) and not log.lost and log.placed > 20


@pytest.mark.cluster
def test_an_image_stays_open_when_the_ingress_that_opened_it_is_killed(client: httpx.Client) -> None:
    opened = client.post("/v1/open", json={"image": "0.png"}).json()
    at, hand = f"/v1/open/{opened['key']}", {"person": 0, "keypoint": "left_hand", "xy_px": [33.5, 44.25]}
    clicked = client.post(f"{at}/clicks", json={"clicks": [hand]}).json()["poses"]
    for _ in range(2):  # those that answer in the end were started after the image was opened
        kill_ingress(client)
        assert [client.get(at).json()["poses"] for _ in range(10)] == [clicked] * 10


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_load_test_finds_the_process_of_every_ingress_and_replica(client: httpx.Client) -> None:
    assert len(workers("clickpose", "ingress")) == 2 and ingress_pids(client) <= workers("clickpose", "ingress")
    assert {replica["pid"] for replica in replicas(client)} == workers("clickpose", "poses")


@pytest.mark.cluster
def test_excess_requests_are_rejected_with_retry_after_and_the_service_recovers(client: httpx.Client) -> None:
    log = Log()

    async def ask_all() -> int:
        async with httpx.AsyncClient(base_url=client.base_url, auth=("clickpose", SECRET), timeout=60) as crowd:
            return await flood(crowd, ["0.png"], log, per_second=1000, seconds=0.5)

    without_retry_after = asyncio.run(ask_all())
    assert set(outcomes(log.requests)) == {"ok", "429"} and without_retry_after == 0, outcomes(log.requests)
    assert client.post("/v1/detect", json={"image": "0.png"}).status_code == 200
    assert 'clickpose_rejected_total{reason="busy"}' in client.get("/metrics").text


def listening() -> dict[str, str]:
    """``ADDRESS:PORT`` in hexadecimal of every listening socket on this machine, by inode."""
    tables = [Path("/proc/net/tcp").read_text(), Path("/proc/net/tcp6").read_text()]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {row[9]: row[1] for row in rows if row[3] == "0A"}


def sockets_of(process: Path) -> set[str]:
    """The inodes of a process's sockets."""
    links = [os.readlink(file) for file in (process / "fd").iterdir() if file.is_symlink()]
    return {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}


def fronts(client: httpx.Client) -> list[tuple[Path, set[str]]]:
    """Each process that listens at the service's address, and all addresses that it listens at."""
    found, listeners = [], listening()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            addresses = {listeners[inode] for inode in sockets_of(process) & listeners.keys()}
            found += [(process, addresses)] if loopback(client) in addresses else []
    return found


def loopback(client: httpx.Client) -> str:
    """The service's address as Linux writes it."""
    return f"0100007F:{client.base_url.port:04X}"


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_front_listens_on_loopback_only(client: httpx.Client) -> None:
    found = fronts(client)
    assert found and all(addresses == {loopback(client)} for _, addresses in found)


@pytest.mark.cluster
def test_the_example_client_finds_and_refines(client: httpx.Client, store: Path, skeleton: Skeleton) -> None:
    for image in ("0.png", str(store / "0.png")):  # one that the service has, and a file that is sent
        done = run_example(client, image, "left_hand")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line.split()[0] for line in lines] == list(skeleton.keypoints)
        assert lines[1].split()[-3:] == ["40.0", "50.0", "held"]


@pytest.mark.cluster
def test_the_example_client_passes_on_what_the_service_explains(client: httpx.Client) -> None:
    done = run_example(client, "0.png", "third_hand")
    assert done.returncode == 1 and "third_hand" in done.stderr and "Traceback" not in done.stderr


def run_example(client: httpx.Client, image: str, keypoint: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLIENT), str(client.base_url), image, keypoint, "40", "50"]
    return subprocess.run(
        command, env=os.environ | {"CLICKPOSE_SECRET": SECRET}, capture_output=True, text=True, timeout=100
    )


@pytest.mark.cluster
def test_an_uploaded_image_is_annotated_step_by_step_and_survives_the_replicas(
    client: httpx.Client, store: Path, skeleton: Skeleton
) -> None:
    sent = client.post("/v1/uploads", content=(store / NAMES[0]).read_bytes()).json()
    opened = client.post("/v1/open", json=sent).json()
    at = f"/v1/open/{opened['key']}"
    added = client.post(f"{at}/persons", json={"box_px": [20, 10, 90, 110]}).json()["poses"]
    assert added[:-1] == opened["poses"]
    hand = {"person": len(added) - 1, "keypoint": "left_hand", "xy_px": [33.5, 44.25]}
    clicked = client.post(f"{at}/clicks", json={"clicks": [hand]}).json()["poses"]
    for replica in replicas(client):
        os.kill(replica["pid"], signal.SIGKILL)

    nose = {"clicks": [hand | {"keypoint": "nose", "xy_px": [50, 20]}]}
    while (answer := client.post(f"{at}/clicks", json=nose)).status_code == 503:
        time.sleep(int(answer.headers["Retry-After"]))
    person = answer.json()["poses"][-1]
    held = {name for name, is_held in zip(skeleton.keypoints, person["held"], strict=True) if is_held}
    assert held == {"nose", "left_hand"} and person["keypoints_px"][1] == [33.5, 44.25]
    assert client.post(f"{at}/undo").json()["poses"] == clicked
    assert client.delete(at).status_code == 204 and client.get(at).status_code == 404


def replicas(client: httpx.Client) -> list[dict[str, Any]]:
    return list(client.get("/v1/status").json()["replicas"])


def ingress_pids(client: httpx.Client) -> set[int]:
    """The processes of the ingresses that answer."""
    statuses = [client.get("/v1/status").raise_for_status().json() for _ in range(20)]
    return {int(status["ingress"].rpartition("-")[2]) for status in statuses}


def kill_ingress(client: httpx.Client) -> None:
    """Kill one of two ingresses, and wait for its successor."""
    old = min(ingress_pids(client))
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: len(ingress_pids(client) - {old}) == 2)


def kill_replica(client: httpx.Client) -> None:
    """Kill one of two replicas, and wait for its successor."""
    old = replicas(client)[0]["pid"]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: len({replica["pid"] for replica in replicas(client)} - {old}) == 2)


def open_task(client: httpx.Client, image: str, skeleton: Skeleton) -> tuple[SimulatedEditor, dict[str, Any]]:
    """Open an image as Label Studio does."""
    task = {"id": 7, "data": {"image": image}}
    (prediction,) = client.post("/predict", json={"tasks": [task], "project": "1.1"}).json()["results"]
    return SimulatedEditor(prediction["result"], (160, 120), skeleton), task | {"predictions": [prediction]}


def click(
    client: httpx.Client, editor: SimulatedEditor, task: dict[str, Any], keypoint: str, xy_px: tuple[float, float]
) -> None:
    """Ctrl-click with a keypoint's label: what the editor sends, and where it puts the answer."""
    drawn = editor.drawn_point(editor.skeleton.index(keypoint), xy_px)
    context = {"result": [*editor.like(drawn), drawn], "focus": 0}  # the only person
    answer = client.post("/predict", json={"tasks": [task], "project": "1.1", "params": {"context": context}})
    editor.accept(answer.json()["results"][0]["result"])


def refine(client: httpx.Client, image: str, poses: list[Any], keypoint: str, xy_px: tuple[float, float]) -> list[Any]:
    click = {"person": 0, "keypoint": keypoint, "xy_px": xy_px}
    answer = client.post("/v1/refine", json={"image": image, "poses": poses, "clicks": [click]})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["poses"])
