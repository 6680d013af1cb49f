"""Who gets in: user and password, bearer tokens, and the header that a webhook carries."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from integrations.label_studio.auth import Credentials
from integrations.label_studio.routes import build_router

PASS = Credentials(user="studio", password="s3cret", tokens=("bearer-token",))


def make_client(service: Any, **options: Any) -> TestClient:
    app = FastAPI()
    app.include_router(build_router(service, **options))
    return TestClient(app)


def test_everything_but_health_needs_credentials(service: Any) -> None:
    client = make_client(service, credentials=PASS)
    assert client.get("/health").status_code == 200
    for method, path in [("POST", "/setup"), ("GET", "/versions"), ("POST", "/predict"), ("POST", "/webhook")]:
        answer = client.request(method, path, json={"tasks": [], "action": "X"})
        assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Basic c3R1ZGlvOnMzY3JldA=="}, 200),
        ({"Authorization": "Bearer bearer-token"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic c3R1ZGlvOndyb25n"}, 401),
        ({"Authorization": "Basic ???"}, 401),
        ({"Authorization": "Digest x"}, 401),
    ],
)
def test_credentials(service: Any, headers: dict[str, str], status: int) -> None:
    client = make_client(service, credentials=PASS)
    assert client.post("/setup", headers=headers).status_code == status


def test_credentials_without_a_user_let_nobody_in_by_an_empty_name(service: Any) -> None:
    client = make_client(service, credentials=Credentials(tokens=("t",)))
    assert client.post("/setup", headers={"Authorization": "Basic Og=="}).status_code == 401


def test_webhook_hands_over_the_event_and_wants_its_own_secret(service: Any) -> None:
    events: list[tuple[str, dict[str, Any]]] = []

    def receive(action: str, payload: dict[str, Any]) -> None:
        events.append((action, payload))

    client = make_client(service, credentials=PASS, webhook=receive, webhook_secret="hush")
    body = {"action": "ANNOTATION_CREATED", "annotation": {"id": 10}}

    assert client.post("/webhook", json=body, headers={"X-Clickpose-Secret": "wrong"}).status_code == 401
    assert client.post("/webhook", json=body, headers={"X-Clickpose-Secret": "hush"}).status_code == 200
    assert events == [("ANNOTATION_CREATED", body)]
