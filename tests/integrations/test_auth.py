"""Who gets in: user and password, bearer tokens, and the header that a webhook carries."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clickpose.errors import Unauthorized
from integrations.label_studio.auth import Credentials, Guard
from integrations.label_studio.routes import build_router

PASS = Credentials(user="studio", password="s3cret", tokens=("bearer-token",))
BEARER = {"Authorization": "Bearer bearer-token"}


def make_client(service: Any, credentials: Credentials = PASS, webhook: Any = None) -> TestClient:
    app = FastAPI()
    app.include_router(build_router(service, webhook=webhook))
    app.add_middleware(Guard, credentials=credentials, webhook_secret="hush")
    return TestClient(app)


@pytest.mark.parametrize(
    "path", ["/setup", "/versions", "/predict", "/webhook", "/docs", "/openapi.json", "/", "//health"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_whatever_is_asked_for_credentials_come_first(service: Any, method: str, path: str) -> None:
    answer = make_client(service).request(method, path, json={"tasks": [], "action": "X"})
    assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")


def test_liveness_is_for_everybody(service: Any) -> None:
    client = make_client(service)
    assert client.get("/health").status_code == 200
    assert client.post("/health").status_code == client.get("/health/").status_code == 401


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Basic c3R1ZGlvOnMzY3JldA==", 200),
        ("basic c3R1ZGlvOnMzY3JldA==", 200),
        ("Bearer bearer-token", 200),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Bearer bearer-token ", 401),
        ("Bearer bearer-tok\xe9n", 401),
        ("Basic c3R1ZGlvOndyb25n", 401),
        ("Basic ???", 401),
        ("Basic \xe9", 401),
        ("Basic", 401),
        ("Digest x", 401),
        ("Token bearer-token", 401),
    ],
)
def test_credentials(service: Any, authorization: str, status: int) -> None:
    headers = {"Authorization": authorization.encode("latin-1")}
    assert make_client(service).post("/setup", headers=headers).status_code == status


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_secret_of_any_letters_is_accepted_however_the_client_writes_them(encoding: str) -> None:
    given = base64.b64encode("studio:sésame".encode(encoding)).decode()
    Credentials("studio", "sésame").check(f"Basic {given}")
    Credentials(tokens=("sésame",)).check(f"Bearer {'sésame'.encode(encoding).decode('latin-1')}")


@pytest.mark.parametrize("authorization", ["Basic Og==", "Basic c3R1ZGlvOg==", "Bearer ", "Bearer"])
@pytest.mark.parametrize("credentials", [Credentials(), Credentials(tokens=("сезам",)), Credentials("studio", "сезам")])
def test_an_empty_name_or_secret_opens_nothing(credentials: Credentials, authorization: str) -> None:
    with pytest.raises(Unauthorized):
        credentials.check(authorization)


def test_secrets_are_compared_as_digests_all_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda one, other: lengths.append((len(one), len(other))) or compare(one, other)
    )
    with pytest.raises(Unauthorized):
        Credentials(tokens=("first", "the second one")).check("Bearer f")
    assert lengths == [(32, 32)] * 4  # every spelling of every token, the first difference or not


def test_nothing_of_a_strangers_body_is_read(service: Any) -> None:
    client = make_client(service)
    client.app.add_middleware(NoBody)  # type: ignore[attr-defined]
    assert client.post("/predict", content=b"{").status_code == 401


class NoBody:
    """Middleware behind which no application may read a body."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def refuse() -> Any:
            raise AssertionError("somebody reads the body")

        await self.app(scope, receive if scope["type"] == "lifespan" else refuse, send)


def test_webhook_hands_over_the_event_and_wants_its_own_secret(service: Any) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    client = make_client(service, webhook=lambda action, payload: events.append((action, payload)))
    body = {"action": "ANNOTATION_CREATED", "annotation": {"id": 10}}

    for wrong in ({}, {"X-Clickpose-Secret": "wrong"}, {"X-Clickpose-Secret": ""}, {"Authorization": "Bearer hush"}):
        assert client.post("/webhook", json=body, headers=wrong).status_code == 401
    assert events == []
    for right in ({"X-Clickpose-Secret": "hush"}, BEARER):
        assert client.post("/webhook", json=body, headers=right).status_code == 200
    assert events == [("ANNOTATION_CREATED", body)] * 2


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook/", "/versions"])
def test_the_webhooks_secret_opens_no_other_door(service: Any, path: str) -> None:
    answer = make_client(service).post(path, json={"tasks": []}, headers={"X-Clickpose-Secret": "hush"})
    assert answer.status_code == 401
