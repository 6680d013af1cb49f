"""``clickpose serve`` starts what is missing, and stops only what it started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import ray
import torch
from ray import serve
from starlette.requests import Request

from clickpose.checkpoints.model_folder import save_model
from clickpose.commands.serve import cache_line
from clickpose.commands.serving import running_service, wait_until_ready
from clickpose.errors import InvalidConfig
from clickpose.images import read_image
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from serve.app import AppArgs, load_predictor
from serve.models.smoke_test import load_and_test

ROOT = Path(__file__).parents[2]
DEMO, THREE_PERSONS = ROOT / "models" / "demo", ROOT / "examples" / "pictures" / "images" / "000000252219.jpg"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, skeleton: Skeleton) -> Path:
    folder = tmp_path_factory.mktemp("model") / "v1"
    torch.manual_seed(0)
    save_model(folder, ClickPose(tiny(len(skeleton))), skeleton, metrics={}, card="")
    return folder


def test_a_port_that_is_in_use_is_named(model: Path, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        words = [sys.executable, "-m", "clickpose", "serve", "--model", str(model), "--port", port, "--allow-anonymous"]
        alone = os.environ | {"RAY_TMPDIR": str(tmp_path)}  # no cluster of another test is joined
        done = subprocess.run(words, env=alone, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == (
        f"clickpose: port {port} of 127.0.0.1 cannot be opened: Address already in use; choose another one with --port"
    )


def test_the_number_of_images_that_fit_follows_from_their_size() -> None:
    assert cache_line({"image_bytes": 91_000_000}, 2048).startswith("each replica keeps 23 encoded images of 91.0 MB")
    assert cache_line({"image_bytes": 10**12}, 2048).startswith("each replica keeps 1 encoded images")


def test_the_size_that_is_shown_is_that_of_a_photo_with_three_persons() -> None:
    skeleton = Skeleton.load(str(DEMO / "skeleton.json"))
    shown = load_and_test(partial(load_predictor, "cpu", False), DEMO, "v1", skeleton)
    photo = shown.predictor.encode(read_image(THREE_PERSONS))
    assert len(shown.predictor.detect(photo)) == 3
    assert shown.image_bytes == pytest.approx(photo.num_bytes, rel=0.1)


def test_half_precision_takes_half_the_memory(model: Path, skeleton: Skeleton) -> None:
    full, half = (
        load_and_test(partial(load_predictor, "cpu", is_half), model, "v1", skeleton).image_bytes
        for is_half in (False, True)
    )
    assert half * 2 == full > 0


@pytest.fixture
def ready_server() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine that says it is ready: its address, and what it was asked for."""
    asked: list[str] = []

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"service": {"ready": true}}')

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_the_service_is_asked_directly_whatever_proxy_is_configured(
    ready_server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("clickpose.commands.serving.READY_LIMIT_S", 2.0)
    url, asked = ready_server
    wait_until_ready(url)
    assert asked == ["/health"]


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Other:
    """An application of somebody else."""

    async def __call__(self, request: Request) -> str:
        return "still here"


@pytest.mark.cluster
def test_leaving_stops_the_application_and_nothing_else(serve_url: str, model: Path) -> None:
    serve.run(Other.bind(), name="other", route_prefix="/other")
    args = AppArgs(model=str(model), secret="open sesame", num_cpus=0.5)
    where: dict[str, Any] = {"host": "127.0.0.1", "port": urlsplit(serve_url).port}
    with running_service(args, **where) as url:
        assert httpx.get(f"{url}/health").json()["service"]["ready"]
        with pytest.raises(InvalidConfig, match="already runs"), running_service(args, **where):
            pass
        assert httpx.get(f"{url}/health").json()["service"]["ready"]
    assert set(serve.status().applications) == {"other"} and ray.is_initialized()
    assert httpx.get(f"{serve_url}/other").text == "still here"
    serve.delete("other")


@pytest.mark.cluster
def test_a_cluster_that_listens_on_another_port_is_named(serve_url: str, model: Path) -> None:
    args = AppArgs(model=str(model), secret="open sesame")
    with (
        pytest.raises(InvalidConfig, match=f"use --port {urlsplit(serve_url).port}"),
        running_service(args, host="127.0.0.1", port=1),
    ):
        pass
