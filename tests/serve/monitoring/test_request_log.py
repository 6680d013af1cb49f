"""What operators see: metrics, and one log line per request that contains nothing private."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from integrations.label_studio.regions import poses_to_result
from serve.app import AppArgs
from serve.monitoring.request_log import log_to_stderr
from serve.monitoring.timing import HEADER, read_header
from serve.web.ingress import build_api
from serve.web.remote import RemotePoseService

SECRET, SIZE_WH = "open sesame", (160, 120)


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory, write_model: Any, point_to: Any) -> AppArgs:
    root = tmp_path_factory.mktemp("store")
    write_model(root / "models" / "v1")
    point_to(root, "v1")
    Image.new("RGB", SIZE_WH, "teal").save(root / "private.png")
    return AppArgs(store=str(root), image_roots=(str(root),), secret=SECRET, max_body_bytes=10_000)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    caplog.set_level(logging.INFO, "serve.requests")
    return lambda: [json.loads(record.message) for record in caplog.records if record.name == "serve.requests"]


def click(poses: Any, skeleton: Any) -> dict[str, Any]:
    """A click on the left hand of a screen."""
    drawn = {
        "id": "5wiJ5h1HMh",
        "type": "keypointlabels",
        "is_positive": True,
        "original_width": SIZE_WH[0],
        "original_height": SIZE_WH[1],
        "value": {"x": 25.0, "y": 50.0, "keypointlabels": ["left_hand"]},
    }
    task = {
        "id": 3,
        "data": {"image": "private.png"},
        "predictions": [{"result": poses_to_result(poses, skeleton, SIZE_WH)}],
    }
    return {"tasks": [task], "project": "1.1", "params": {"context": {"result": [drawn], "focus": 0}}}


def test_an_answer_says_where_its_time_went(client: TestClient, lines: Any, make_pose: Any, skeleton: Any) -> None:
    answer = client.post("/predict", json=click([make_pose(), make_pose(60)], skeleton))
    parts = read_header(answer.headers[HEADER])
    assert parts["ingress"] >= parts["call"] >= parts["replica"] >= parts["queue"] + parts["model"] - 0.2  # rounded
    (line,) = lines()
    assert {f"{part}_ms" for part in parts} - set(line) == {"ingress_ms"}
    assert set(read_header(client.get("/health").headers[HEADER])) == {"ingress"}


def test_a_log_line_contains_what_happened(client: TestClient, lines: Any, make_pose: Any, skeleton: Any) -> None:
    task = {"data": {"image": "private.png"}}
    client.post("/predict", json={"tasks": [task]}, headers={"X-Request-ID": "abc-1"})
    client.post("/predict", json={"tasks": [task, task]})
    client.post("/predict", json=click([make_pose(), make_pose(60)], skeleton))
    client.post("/v1/detect", json={"image": "missing.png"})
    opened, batch, clicked, missing = lines()
    assert (opened["request_id"], opened["route"], opened["method"]) == ("abc-1", "/predict", "POST")
    assert [line["kind"] for line in (opened, batch, clicked, missing)] == ["open", "batch", "refine", "open"]
    assert (clicked["status"], clicked["outcome"], clicked["encoded"], clicked["model_version"]) == (
        200,
        "ok",
        True,
        "v1",
    )
    assert (missing["status"], missing["outcome"], missing["rejected"]) == (422, "ImageError", "image")
    assert all(line["ms"] > 0 and line["request_id"] for line in lines())


def test_no_log_line_contains_secrets_image_names_or_text_from_callers(
    client: TestClient, caplog: pytest.LogCaptureFixture, lines: Any
) -> None:
    caplog.set_level(logging.INFO)
    client.post("/v1/detect?token=hunter2", json={"image": "private.png"}, headers={"X-Request-ID": 'a"\n{"b": "c'})
    client.post("/v1/detect", json={"image": "private.png"}, headers={"Authorization": "Bearer hunter2"})
    client.request("BREW", "/hunter2/private.png")
    client.get("/hunter2")
    elsewhere = {"data": {"image": "https://hunter2:hunter2@elsewhere.example/7.png?signature=hunter2"}}
    client.post("/predict", json={"tasks": [elsewhere]})
    assert [line["route"] for line in lines()] == ["/v1/detect", "/v1/detect", "none", "none", "/predict"]
    assert lines()[2]["method"] == "other"
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    assert not any(word in ours for word in (SECRET, "hunter2", "private", '"c"'))


def test_rejections_and_failures_are_counted_by_reason(
    client: TestClient, service: RemotePoseService, make_pose: Any, skeleton: Any
) -> None:
    client.post("/v1/detect", json={"image": "missing.png"})
    client.post("/v1/detect", json={"file": "private.png"})
    client.post("/v1/detect", json={"image": "private.png"}, headers={"Authorization": ""})
    client.post("/v1/detect", content=b"x" * 20_000)
    outside = click([make_pose()], skeleton)
    outside["params"]["context"]["result"][0]["value"]["x"] = 140.0
    assert client.post("/predict", json=outside).status_code == 200
    text = client.get("/metrics").text
    for reason in ("image", "malformed", "unauthorized", "too long", "click"):
        assert f'clickpose_rejected_total{{reason="{reason}"}} 1.0' in text


def test_held_keypoints_are_counted(
    client: TestClient, service: RemotePoseService, make_pose: Any, skeleton: Any
) -> None:
    client.post("/predict", json=click([make_pose(), make_pose(60)], skeleton))
    client.portal.call(service.update_status)  # type: ignore[union-attr]
    assert "clickpose_held_keypoints 1.0" in client.get("/metrics").text


def test_log_lines_are_written_to_stderr_once(
    capfd: pytest.CaptureFixture[str], service: RemotePoseService, args: AppArgs
) -> None:
    logger = logging.getLogger("serve.requests")
    try:
        log_to_stderr()
        log_to_stderr()
        with TestClient(build_api(service, args)) as client:
            client.get("/health")
        assert [json.loads(line)["route"] for line in capfd.readouterr().err.splitlines() if '"route"' in line] == [
            "/health"
        ]
    finally:
        logger.handlers.clear()
        logger.propagate = True
