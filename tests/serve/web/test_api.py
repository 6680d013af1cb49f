"""The web application: routes, limits, errors, and replicas that fail."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from PIL import Image
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.exceptions import BackPressureError, RequestCancelledError

from clickpose.annotations import Pose
from clickpose.errors import ImageError, InvalidConfig, StoreError
from clickpose.skeleton import Skeleton
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.service import PoseAnswer
from serve.app import AppArgs, build_app
from serve.monitoring.metrics import ServiceMetrics
from serve.monitoring.replica_status import Reply, name_of_process
from serve.web.ingress import build_api
from serve.web.remote import RemotePoseService
from serve.web.schemas import PoseBody
from serve.web.webhooks import WebhookForwarder

SECRET = "open sesame"
BEARER = {"Authorization": f"Bearer {SECRET}"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"clickpose:{SECRET}".encode()).decode()}
SIZE_WH = (160, 120)


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory, write_model: Any, point_to: Any) -> AppArgs:
    root = tmp_path_factory.mktemp("store")
    write_model(root / "models" / "v1")
    point_to(root, "v1")
    for name in ("one.png", "two.png"):
        Image.new("RGB", SIZE_WH, "teal").save(root / name)
    return AppArgs(store=str(root), image_roots=(str(root),), secret=SECRET, poll_s=0.2)


@pytest.fixture
def body(make_pose: Callable[..., Pose]) -> dict[str, Any]:
    """A refine request with one pose and one click."""
    pose = PoseBody.of(make_pose(held=[2])).model_dump()
    return {"image": "one.png", "poses": [pose], "clicks": [{"person": 0, "keypoint": "nose", "xy_px": [7.5, 8.25]}]}


def test_detect_then_refine_then_add(client: TestClient) -> None:
    found = client.post("/v1/detect", json={"image": "one.png"}).json()
    assert found["size_wh"] == [160, 120] and found["model_version"] == "v1"
    click = {"person": 1, "keypoint": "nose", "xy_px": [7.5, 8.25]}
    body = {"image": "one.png", "poses": found["poses"], "clicks": [click]}
    refined = client.post("/v1/refine", json=body).json()["poses"]
    assert refined[1]["keypoints_px"][0] == [7.5, 8.25] and refined[1]["held"] == [True] + [False] * 4
    assert refined[0] == found["poses"][0]
    added = client.post("/v1/add-person", json={"image": "one.png", "poses": refined, "box_px": [5, 5, 50, 60]}).json()
    assert added["poses"][:2] == refined and len(added["poses"]) == 3


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        ("/v1/detect", {"image": "missing.png"}, 422),
        ("/v1/detect", {"image": "../one.png"}, 422),
        ("/v1/detect", {"image": ""}, 422),
        ("/v1/refine", {"clicks": [{"person": 0, "keypoint": "nose", "xy_px": [700, 8]}]}, 422),
        ("/v1/refine", {"clicks": [{"person": -1, "keypoint": "nose", "xy_px": [7, 8]}]}, 422),
        ("/v1/refine", {"poses": [{}]}, 422),
        ("/v1/refine", {"hold": "sometimes"}, 422),
    ],
)
def test_requests_that_cannot_be_answered_are_rejected_with_a_reason(
    client: TestClient, body: dict[str, Any], path: str, change: dict[str, Any], status: int
) -> None:
    body = change if path == "/v1/detect" else body | change
    answer = client.post(path, json=body)
    assert answer.status_code == status and answer.json()["detail"]


def test_a_new_kind_of_error_is_answered_like_its_base_class(args: AppArgs, skeleton: Skeleton) -> None:
    class NoColourProfile(ImageError):
        """A kind of error that the service does not know."""

    def answer() -> Any:
        raise NoColourProfile("one.png has no colour profile")

    refused = client_of(Handle(answer), args, skeleton).post("/v1/detect", json={"image": "one.png"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "one.png has no colour profile")


def test_bodies_with_nan_too_long_or_without_length_are_rejected(client: TestClient, body: dict[str, Any]) -> None:
    body["poses"][0]["keypoints_px"][0] = ["NaN", 1.0]
    assert client.post("/v1/refine", json=body).status_code == 422
    text = '{"image": "one.png", "box_px": [NaN, 1, 2, 3]}'
    assert client.post("/v1/add-person", content=text, headers={"Content-Type": "application/json"}).status_code == 422
    assert client.post("/v1/detect", content=b"x" * (33 * 2**20)).status_code == 413
    assert client.post("/v1/detect", content=iter([b"{}"])).status_code == 411


GET = ("/versions", "/v1/status", "/v1/skeleton", "/metrics", "/docs", "/openapi.json")
POST = ("/setup", "/predict", "/webhook", "/v1/detect")


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic wrong", "Token open sesame"])
def test_requests_without_the_secret_are_rejected(client: TestClient, authorization: str) -> None:
    for method, path in [*(("GET", path) for path in GET), *(("POST", path) for path in POST)]:
        answer = client.request(method, path, json={}, headers={"Authorization": authorization})
        assert answer.status_code == 401 and SECRET not in answer.text, path


def test_health_and_setup_report_the_model_version(client: TestClient) -> None:
    health = client.get("/health", headers={"Authorization": ""}).json()
    assert health["status"] == "UP" and health["service"]["model_version"] == "v1"
    assert client.post("/setup", json={}, headers=BASIC).json() == {"model_version": "v1"}


def test_the_interface_is_documented_for_programs_and_people(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/detect", "/v1/refine", "/v1/add-person", "/predict", "/metrics"} <= set(document["paths"])
    answer = client.get("/docs")
    page, policy = answer.text, answer.headers["Content-Security-Policy"]
    assert all(f" {path}</h2>" in page for path in document["paths"])
    assert 'href="#RefineRequest"' in page and 'id="RefineRequest"' in page
    assert "http" not in page.replace('"https://json-schema', "") and "default-src 'none'" in policy


def test_every_route_of_the_rest_interface_documents_its_answer(client: TestClient) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, route in methods.items():
            if path.startswith("/v1/") and "204" not in route["responses"]:
                schema = route["responses"]["200"]["content"]["application/json"]["schema"]
                assert "$ref" in schema, (method, path)


def test_label_studio_predicts_and_refines(client: TestClient, skeleton: Skeleton) -> None:
    task = {"id": 3, "data": {"image": "one.png"}}
    (found,) = client.post("/predict", json={"tasks": [task]}, headers=BASIC).json()["results"]
    assert found["model_version"] == "v1" and sum(item["type"] == "rectanglelabels" for item in found["result"]) == 2
    answer = client.post("/predict", json=click_on(task, found["result"], "left_hand", (25.0, 50.0)), headers=BASIC)
    items = {item["id"]: item for item in answer.json()["results"][0]["result"]}
    assert len(items) == 2 * (len(skeleton) + 1)
    clicked = items["p0_left_hand"]
    assert (clicked["value"]["x"], clicked["value"]["y"], clicked["meta"]["held"]) == (25.0, 50.0, True)


def click_on(task: dict[str, Any], shown: list[Any], label: str, xy_pct: tuple[float, float]) -> dict[str, Any]:
    """What Label Studio sends for a smart keypoint: the keypoints on the screen with its label, and the new one."""
    value = {"x": xy_pct[0], "y": xy_pct[1], "width": 0.5, "keypointlabels": [label]}
    size = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1], "image_rotation": 0}
    drawn = {
        "id": "5wiJ5h1HMh",
        "type": "keypointlabels",
        "from_name": "kp",
        "is_positive": True,
        "value": value,
    } | size
    same = [item for item in shown if label in item["value"].get("keypointlabels", ())]
    task = task | {"predictions": [{"id": 1, "result": shown}]}
    return {"tasks": [task], "project": "1.1", "params": {"context": {"result": [*same, drawn], "focus": 0}}}


class Handle:
    """A handle whose replicas do what a test defines."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.cancelled = False

    def options(self, **options: Any) -> Handle:
        return self

    def remote(self, *arguments: Any) -> Handle:
        return self

    def cancel(self) -> None:
        self.cancelled = True

    def __await__(self) -> Any:
        return self.work().__await__()

    async def work(self) -> Any:
        return self.answer()

    def broadcast(self, method: str) -> Any:
        raise RuntimeError("no replicas")


def client_of(handle: Any, args: AppArgs, skeleton: Skeleton, timeout_s: float = 1) -> TestClient:
    service = RemotePoseService(handle, skeleton, first_version="v1", timeout_s=timeout_s)
    return TestClient(build_api(service, args), headers=BEARER)


def test_programs_can_fill_only_half_of_the_queue(args: AppArgs, skeleton: Skeleton) -> None:
    answers = PoseAnswer([], SIZE_WH, "v1")

    async def story() -> list[int]:
        async def slow() -> Any:
            await asyncio.sleep(0.2)
            return Reply(answers, True)

        handle = Handle(dict)
        handle.work = slow  # type: ignore[method-assign]
        service = RemotePoseService(handle, skeleton, first_version="v1", timeout_s=10)  # type: ignore[arg-type]
        few = args.model_copy(update={"max_queued": 4, "max_ongoing": 4})
        transport = httpx.ASGITransport(build_api(service, few))
        async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=BEARER) as client:
            programs = [client.post("/v1/detect", json={"image": "one.png"}) for _ in range(6)]
            people = [client.post("/predict", json={"tasks": [{"data": {"image": "one.png"}}]}) for _ in range(2)]
            told = await asyncio.gather(*programs, *people)
        assert all(answer.headers["Retry-After"] == "1" for answer in told if answer.status_code == 429)
        assert (await service.status())["model_version"] == "v1"
        return [answer.status_code for answer in told]

    assert asyncio.run(story()) == [200] * 4 + [429] * 2 + [200] * 2


def test_a_full_queue_rejects_programs_and_leaves_the_annotators_screen_unchanged(
    args: AppArgs, skeleton: Skeleton, make_pose: Callable[..., Pose]
) -> None:
    def answer() -> Any:
        raise BackPressureError(num_queued_requests=9, max_queued_requests=8)

    client = client_of(Handle(answer), args, skeleton)
    refused = client.post("/v1/detect", json={"image": "one.png"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    shown = poses_to_result([make_pose(10, 10), make_pose(60, 10)], skeleton, SIZE_WH)
    task = {"id": 3, "data": {"image": "one.png"}}
    kept = client.post("/predict", json=click_on(task, shown, "left_hand", (25.0, 50.0)))
    assert kept.status_code == 200
    assert [item["id"] for item in kept.json()["results"][0]["result"]] == ["p0_left_hand", "p1_left_hand"]


@pytest.mark.parametrize("swallows", [False, True])
def test_a_call_to_a_replica_that_hangs_times_out(args: AppArgs, skeleton: Skeleton, swallows: bool) -> None:
    class Hangs(Handle):
        async def work(self) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise (RequestCancelledError() if swallows else asyncio.CancelledError()) from None

    handle = Hangs(dict)
    answer = client_of(handle, args, skeleton, timeout_s=0.1).post("/v1/detect", json={"image": "one.png"})
    assert (answer.status_code, answer.headers["Retry-After"], handle.cancelled) == (503, "3", True)


def test_status_updates_stop_even_if_a_cancellation_is_swallowed(replicas: Any, skeleton: Skeleton) -> None:
    class Swallows(RemotePoseService):
        async def update_status(self) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise RequestCancelledError() from None

    async def story() -> str:
        async with Swallows(replicas, skeleton, first_version="v1", timeout_s=1).watching(0.01):
            await asyncio.sleep(0.05)
        return "ended"

    assert asyncio.run(asyncio.wait_for(story(), 3)) == "ended"


def failing(*errors: BaseException) -> Handle:
    """A handle whose replicas fail, once with each error, before they answer."""
    remaining = iter(errors)

    def answer() -> Any:
        for error in remaining:
            raise error
        return Reply(PoseAnswer([], SIZE_WH, "v1"), True)

    return Handle(answer)


LOSSES = {  # what Ray raises when a replica, or the connection to it, ends during a call
    "it died": ActorDiedError(),
    "it was stopped while it answered": asyncio.CancelledError(),
    "the same, as Serve calls it": RequestCancelledError(),
    "its connection was reset": AioRpcError(StatusCode.INTERNAL, Metadata(), Metadata(), "RST_STREAM"),
    "its server was stopped": AioRpcError(StatusCode.CANCELLED, Metadata(), Metadata()),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("losses", "status"), [(2, 200), (3, 503)])
def test_a_call_is_retried_when_its_replica_is_lost(
    args: AppArgs, skeleton: Skeleton, loss: str, losses: int, status: int
) -> None:
    client = client_of(failing(*[LOSSES[loss]] * losses), args, skeleton)
    answer = client.post("/v1/detect", json={"image": "one.png"})
    assert (answer.status_code, "Retry-After" in answer.headers) == (status, status == 503)


def test_an_annotators_click_is_retried_when_its_replica_is_stopped(
    args: AppArgs, skeleton: Skeleton, make_pose: Callable[..., Pose]
) -> None:
    client = client_of(failing(asyncio.CancelledError()), args, skeleton)
    shown = poses_to_result([make_pose(10, 10)], skeleton, SIZE_WH)
    task = {"id": 3, "data": {"image": "one.png"}}
    answer = client.post("/predict", json=click_on(task, shown, "left_hand", (25.0, 50.0)))
    assert answer.json()["results"][0]["model_version"] == "v1"


@pytest.mark.parametrize(("failures", "timeout_s", "status"), [(5, 5, 200), (1000, 0.5, 503)])
def test_a_call_waits_while_the_machine_of_its_replica_may_have_died(
    args: AppArgs, skeleton: Skeleton, failures: int, timeout_s: float, status: int
) -> None:
    handle = failing(*[ActorUnavailableError("cannot be reached", None)] * failures)
    client = client_of(handle, args, skeleton, timeout_s=timeout_s)
    assert client.post("/v1/detect", json={"image": "one.png"}).status_code == status


def test_the_ingress_answers_while_there_is_no_replica(args: AppArgs, skeleton: Skeleton) -> None:
    with client_of(Handle(dict), args, skeleton) as client:
        health = client.get("/health").json()
        assert health["status"] == "UP" and health["service"]["ready"] is False
        assert client.post("/setup", json={}).json() == {"model_version": "v1"}


def test_metrics_and_status_report_what_happened(client: TestClient, service: RemotePoseService) -> None:
    for image in ("two.png", "two.png", "missing.png"):
        client.post("/v1/detect", json={"image": image})
    client.post("/webhook", json={"action": "ANNOTATION_CREATED"})
    client.portal.call(service.update_status)  # type: ignore[union-attr]
    text = client.get("/metrics").text
    for line in (
        'clickpose_requests_total{kind="open",outcome="ok"} 2.0',
        'clickpose_requests_total{kind="open",outcome="ImageError"} 1.0',
        'clickpose_request_seconds_count{kind="open"} 3.0',
        'clickpose_requests_in_progress{kind="open"} 0.0',
        'clickpose_encoded_total{found="yes"}',
        'clickpose_rejected_total{reason="image"} 1.0',
        f'clickpose_replica_model{{model_version="v1",replica="{name_of_process()}"}} 1.0',
        f'clickpose_replica_queue{{replica="{name_of_process()}"}} 0.0',
        f'clickpose_replica_memory_bytes{{replica="{name_of_process()}"}}',
        'clickpose_replicas{model_version="v1"} 1.0',
        'clickpose_webhook_events_total{action="ANNOTATION_CREATED"} 1.0',
    ):
        assert line in text
    status = client.get("/v1/status").json()
    (replica,) = status["replicas"]
    assert status["ready"] and status["webhook_events"] == 1
    assert replica["cache_hits"] >= 1 and f"clickpose_cache_misses {replica['cache_misses']}.0" in text


def test_webhooks_cannot_create_time_series() -> None:
    metrics = ServiceMetrics()
    for action in ("ANNOTATION_CREATED", "SOMETHING_ELSE", "X" * 40, 'quoted"}'):
        metrics.count_webhook(action)
    found = re.findall(r'webhook_events_total{action="(.*?)"} (\S+)', metrics.text().decode())
    assert dict(found) == {"ANNOTATION_CREATED": "1.0", "OTHER": "3.0"}


def test_webhook_events_are_forwarded_and_an_unreachable_receiver_does_no_harm() -> None:
    heard: list[bytes] = []

    def listen(request: httpx.Request) -> httpx.Response:
        heard.append(request.content)
        if len(heard) > 1:
            raise httpx.ConnectError("nobody there")
        return httpx.Response(200)

    async def story() -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(listen))
        forward = WebhookForwarder("http://retrain.example/wake", ServiceMetrics(), client)
        for _ in range(2):
            await forward("ANNOTATION_CREATED", {"action": "ANNOTATION_CREATED", "task": 1})
        assert forward.metrics.webhook_events == 2

    asyncio.run(story())
    assert heard[0] == b'{"action":"ANNOTATION_CREATED","task":1}'


def test_a_configuration_file_can_refer_to_build_app(args: AppArgs) -> None:
    values = args.model_dump(exclude_defaults=True) | {"secret": SECRET}
    call_user_app_builder_with_args_if_necessary(build_app, values)  # as Serve does with ``import_path`` and ``args``
    with pytest.raises(ValueError, match="replica_count"):
        call_user_app_builder_with_args_if_necessary(build_app, values | {"replica_count": 2})


def test_an_application_without_secret_store_or_model_is_rejected(args: AppArgs, monkeypatch: Any) -> None:
    monkeypatch.delenv("CLICKPOSE_SECRET", raising=False)
    with pytest.raises(InvalidConfig, match="CLICKPOSE_SECRET"):
        build_app(args.model_copy(update={"secret": None}))
    with pytest.raises(StoreError, match="does not exist"):
        build_app(args.model_copy(update={"store": "/nowhere"}))
    with pytest.raises(ValueError, match="either a store or a model folder"):
        AppArgs()
    monkeypatch.setenv("CLICKPOSE_SECRET", "from outside")
    secret = args.model_copy(update={"secret": None}).with_secrets().secret
    assert secret is not None and secret.get_secret_value() == "from outside"
    assert SECRET not in repr(args)
