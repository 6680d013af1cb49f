"""The service answers every random request, and rejected ones change nothing.

Everything but the cluster is real: the web application, a replica, an untrained model. Every run sends the same
requests; CLICKPOSE_FUZZ=50 sends fifty times as many.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import schemathesis
import torch
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from ray import serve
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from clickpose.checkpoints.model_folder import save_model
from clickpose.model import ClickPose, tiny
from serve.app import AppArgs, image_source, load_predictor, model_source
from serve.replica.replica import PoseReplica
from serve.web.ingress import build_api
from serve.web.remote import RemotePoseService
from tests.serve.web.random_requests import SKELETON, each_number_replaced, edits, names, rest_bodies, texts, values

BEARER = {"Authorization": "Bearer open sesame"}
TASK = {"id": 3, "data": {"image": "one.png"}}
TIMES = int(os.environ.get("CLICKPOSE_FUZZ", "1"))


def often(examples: int) -> settings:
    """The number of requests a test sends; the same ones in every run, unless CLICKPOSE_FUZZ is set."""
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Service:
    """The real service in this process: its client, its only replica, and its OpenAPI description."""

    client: TestClient
    replica: PoseReplica
    openapi: dict[str, Any]

    def post(self, path: str, body: Any) -> httpx.Response:
        """Send a body, even with NaN or half characters; check that nothing fails and a rejection changes nothing."""
        before = self.state()
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (answer.text, content)
        assert answer.is_success or self.state() == before
        return answer

    def state(self) -> bytes:
        """Everything that the replica remembers of all sessions."""
        return pickle.dumps(self.replica.sessions)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("requests")
    torch.manual_seed(0)
    save_model(root / "model", ClickPose(tiny(len(SKELETON))), SKELETON, metrics={}, card="")
    for name in ("one.png", "two.jpg"):
        Image.effect_noise((160, 120), 60).convert("RGB").save(root / name)
    (root / "broken.png").write_bytes(b"not an image")
    args = AppArgs(model=str(root / "model"), image_roots=(str(root),), secret="open sesame", device="cpu")
    replicas: list[PoseReplica] = []

    class Replica(PoseReplica):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            replicas.append(self)

    load = partial(load_predictor, args.device, args.half_cache)
    bound = serve.deployment(Replica).bind(args, SKELETON, model_source(args), image_source(args), load)
    handle = serve.run(bound, _local_testing_mode=True)
    remote = RemotePoseService(handle, SKELETON, first_version="model", timeout_s=30)
    api = build_api(remote, args)
    with TestClient(api, headers=BEARER, raise_server_exceptions=False) as client:
        yield Service(client, replicas[0], api.openapi())


@pytest.fixture(scope="module")
def shown(service: Service) -> list[dict[str, Any]]:
    """What an annotator sees first, without the third and later persons."""
    found = service.post("/predict", {"tasks": [TASK]}).json()["results"][0]["result"]
    return [item for item in found if item["meta"]["person"] < 2]


@pytest.fixture(scope="module")
def described(service: Service) -> Any:
    """The operations of the OpenAPI description, by path and method."""
    return schemathesis.openapi.from_dict(service.openapi)


@often(40)
@given(data=st.data())
def test_every_edit_is_answered_and_a_rejected_one_changes_nothing(
    service: Service, shown: list[dict[str, Any]], data: st.DataObject
) -> None:
    before = service.state()
    answer = service.post("/predict", data.draw(edits(shown)))
    results = answer.json().get("results", [])
    assert answer.is_client_error or all({"result", "score"} <= set(result) for result in results)
    if not any("model_version" in result for result in results):
        assert service.state() == before


@often(40)
@given(data=st.data())
def test_poses_from_a_program_are_accepted_or_rejected(service: Service, data: st.DataObject) -> None:
    before = service.state()
    poses = service.post("/v1/detect", {"image": "one.png"}).json()["poses"][:2]
    service.post(*data.draw(rest_bodies(poses)))
    assert service.state() == before


def test_no_number_is_too_large_anywhere(service: Service) -> None:
    poses = service.post("/v1/detect", {"image": "one.png"}).json()["poses"][:1]
    click = {"person": 0, "keypoint": "left_hip", "xy_px": [7.5, 8.25]}
    for body in each_number_replaced({"image": "one.png", "poses": poses, "clicks": [click]}, 1e39):
        assert service.post("/v1/refine", body).status_code == 422


@often(40)
@given(tasks=st.lists(st.fixed_dictionaries({}, optional={"id": values, "data": values}), max_size=4), image=names)
def test_a_batch_gets_one_answer_per_task(service: Service, tasks: list[Any], image: Any) -> None:
    before = service.state()
    answer = service.post("/predict", {"tasks": [*tasks, {"data": {"image": image}}]})
    assert answer.is_client_error or len(answer.json()["results"]) == len(tasks) + 1
    assert service.state() == before


@often(40)
@given(
    path=st.sampled_from(["/setup", "/webhook", "/predict", "/v1/detect", "/v1/refine", "/v1/add-person"]), body=values
)
def test_any_json_is_answered(service: Service, path: str, body: Any) -> None:
    assert service.post(path, body).status_code < 500


@often(40)
@given(action=values, event=st.dictionaries(texts, values, max_size=5))
def test_any_event_is_answered(service: Service, action: Any, event: dict[str, Any]) -> None:
    before = service.state()
    service.post("/webhook", event | {"action": action})
    assert service.state() == before


@pytest.mark.parametrize("path", ["/predict", "/webhook", "/v1/refine"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b'{"tasks": 1e999}',
        b'"\\ud800"',
        b"1" * 10_000,
        b"NaN",
    ],
    ids=["empty", "half", "deep list", "deep object", "bytes", "infinite", "half a character", "long", "NaN"],
)
def test_bodies_that_are_not_json_are_rejected(service: Service, path: str, body: bytes) -> None:
    assert service.post(path, body).status_code == 422


def test_an_error_does_not_quote_a_very_long_field_name(service: Service) -> None:
    assert len(service.post("/v1/detect", {"image": "one.png", "x" * 100_000: 1}).text) < 1000


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("POST", "/setup"),
        ("GET", "/versions"),
        ("POST", "/predict"),
        ("POST", "/webhook"),
        ("POST", "/v1/detect"),
        ("POST", "/v1/refine"),
        ("POST", "/v1/add-person"),
        ("POST", "/v1/uploads"),
        ("POST", "/v1/open"),
        ("GET", "/v1/open/{key}"),
        ("DELETE", "/v1/open/{key}"),
        ("POST", "/v1/open/{key}/clicks"),
        ("POST", "/v1/open/{key}/persons"),
        ("DELETE", "/v1/open/{key}/persons/{person}"),
        ("POST", "/v1/open/{key}/undo"),
        ("GET", "/v1/skeleton"),
        ("GET", "/v1/status"),
        ("GET", "/metrics"),
    ],
)
def test_the_service_conforms_to_its_openapi_description(
    service: Service, described: Any, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    operation = described[path][method]
    takes_json = any(body.media_type == "application/json" for body in operation.body)
    if mode == schemathesis.GenerationMode.NEGATIVE and not takes_json:
        pytest.skip("there is nothing that could be wrong")

    @often(5 if operation.body else 1)
    @given(case=operation.as_strategy(mode))
    def try_out(case: schemathesis.Case) -> None:
        before, request = service.state(), case.as_transport_kwargs()
        answer = service.client.request(**request)
        case.validate_response(
            answer, checks=[not_a_server_error, content_type_conformance, response_schema_conformance]
        )
        assert answer.is_success or service.state() == before
        stranger = service.client.request(**request | {"headers": dict(request["headers"]) | {"Authorization": ""}})
        assert stranger.status_code == (200 if path == "/health" else 401)

    try_out()


def test_every_route_is_tested(service: Service) -> None:
    (tried,) = (
        mark.args[1]
        for mark in test_the_service_conforms_to_its_openapi_description.pytestmark
        if len(mark.args[1]) > 2
    )
    described = {(method.upper(), path) for path, methods in service.openapi["paths"].items() for method in methods}
    assert described == set(tried)
