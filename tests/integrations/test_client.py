"""The client's tokens, pages and errors; what the real server does is in test_label_studio_server."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from clickpose.errors import LabelStudioError
from integrations.label_studio.client import LabelStudio

PERSONAL_TOKEN = "head.body.signature"


def make_client(handler: Any, token: str = "0" * 40) -> LabelStudio:
    return LabelStudio("http://studio/", token, transport=httpx.MockTransport(handler))


def test_legacy_token_is_sent_as_it_is() -> None:
    client = make_client(lambda request: httpx.Response(200, json={"auth": request.headers["authorization"]}))
    assert client.task(1)["auth"] == "Token " + "0" * 40


def test_personal_token_is_exchanged_and_again_once_it_has_run_out() -> None:
    valid = {"token": "first"}
    exchanged: list[str] = []

    def studio(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token/refresh/":
            exchanged.append(json.loads(request.content)["refresh"])
            return httpx.Response(200, json={"access": valid["token"]})
        allowed = request.headers.get("authorization") == f"Bearer {valid['token']}"
        return httpx.Response(200 if allowed else 401, json={})

    client = make_client(studio, PERSONAL_TOKEN)
    client.task(1)
    client.task(1)
    assert exchanged == [PERSONAL_TOKEN]
    valid["token"] = "second"
    client.task(1)
    assert exchanged == [PERSONAL_TOKEN] * 2


def test_refused_personal_token_is_explained() -> None:
    client = make_client(lambda request: httpx.Response(401, json={}), PERSONAL_TOKEN)
    with pytest.raises(LabelStudioError, match="refused the personal access token with status 401"):
        client.task(1)


def test_a_page_to_log_in_is_no_token() -> None:
    client = make_client(lambda request: httpx.Response(200, text="<html>Log in</html>"), PERSONAL_TOKEN)
    with pytest.raises(LabelStudioError, match="http://studio did not exchange the personal access token"):
        client.task(1)


@pytest.mark.parametrize("body", ["[]", '"hello"', "null", "7", ""])
def test_an_answer_that_is_no_record_is_told(body: str) -> None:
    client = make_client(lambda request: httpx.Response(200, text=body))
    with pytest.raises(LabelStudioError, match=r"http://studio answered GET /api/tasks/1/ with .*is that Label Studio"):
        client.task(1)
    with pytest.raises(LabelStudioError, match="is that Label Studio"):
        list(client.tasks(1))


def test_a_server_that_moved_is_told_with_its_new_address() -> None:
    client = make_client(lambda request: httpx.Response(301, headers={"location": "https://studio/api/tasks/1/?t=x"}))
    with pytest.raises(
        LabelStudioError, match=r"status 301: it redirects to https://studio/api/tasks/1/\?\.\.\.; give"
    ):
        client.task(1)


def test_tasks_come_from_every_page_and_since_the_watermark() -> None:
    asked: list[httpx.QueryParams] = []

    def studio(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params)
        page = int(request.url.params["page"])
        return httpx.Response(200, json={"total": 200, "tasks": [{"id": i} for i in range(100)] if page < 3 else []})

    client = make_client(studio)
    assert len(list(client.tasks(5, changed_since=datetime(2026, 11, 21, tzinfo=UTC)))) == 200
    assert [query["page"] for query in asked] == ["1", "2"]
    (condition,) = json.loads(asked[0]["query"])["filters"]["items"]
    assert condition["value"] == "2026-11-21T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(400, json={"validation_errors": {"title": ["too short"]}}), "status 400: .*too short"),
        (httpx.Response(404, json={"detail": "No Task matches"}), "refused GET /api/tasks/1/ .*No Task matches"),
        (httpx.Response(502, text="<html>bad gateway"), "status 502: <html>bad gateway"),
        (httpx.Response(200, text="<html>login"), "did not answer GET /api/tasks/1/ with JSON"),
    ],
)
def test_refusal_is_explained(answer: httpx.Response, message: str) -> None:
    with pytest.raises(LabelStudioError, match=message):
        make_client(lambda request: answer).task(1)


def test_server_that_is_not_there_is_named() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(LabelStudioError, match="http://studio did not answer GET"):
        make_client(nobody).task(1)


@pytest.mark.parametrize("server", ["http://studio", "http://studio:8080/labels"])
def test_images_are_fetched_by_the_address_that_the_task_has(server: str) -> None:
    asked: list[str] = []

    def studio(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=b"picture")

    client = LabelStudio(server, "0" * 40, transport=httpx.MockTransport(studio))
    path = httpx.URL(server).path.rstrip("/")
    for address in ("/data/upload/3/a%20b.jpg", f"{path}/data/upload/3/a%20b.jpg", f"{server}/data/upload/3/a%20b.jpg"):
        assert client.fetch(address) == b"picture"
    assert set(asked) == {f"{server}/data/upload/3/a%20b.jpg"}
    client.fetch("/data/local-files/?d=a%26b.jpg")
    assert asked[-1] == f"{server}/data/local-files/?d=a%26b.jpg"


def test_no_other_server_is_asked_for_a_image_or_told_the_token() -> None:
    client = make_client(lambda request: pytest.fail("somebody was asked"))
    for address in ("http://elsewhere/data/a.jpg", "//elsewhere/a.jpg", "https://studio/a.jpg"):
        with pytest.raises(LabelStudioError, match="not fetched from other servers"):
            client.fetch(address)


def test_a_server_on_this_machine_is_asked_directly_whatever_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://ann:secret@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for host in ("127.0.0.1", "localhost"):
            assert LabelStudio(f"http://{host}:{server.server_port}", "0" * 40).task(1) == {"id": 1}
        server.shutdown()
    with pytest.raises(
        LabelStudioError, match=r"through the proxy http://\.\.\.@127.0.0.1:9; name studio.invalid in NO_PROXY"
    ):
        LabelStudio("http://studio.invalid", "0" * 40).task(1)


class Greeter(BaseHTTPRequestHandler):
    """Answers every request with one task."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"id": 1}')

    def log_message(self, *args: Any) -> None:
        pass


def test_failure_of_a_backend_is_told_although_the_status_is_200() -> None:
    client = make_client(lambda request: httpx.Response(200, json={"errors": ["500 Server Error"]}))
    with pytest.raises(LabelStudioError, match=r"backend 3 failed on task 1: \['500 Server Error'\]"):
        client.ask_backend(3, 1, {"result": []})


def test_connecting_a_backend_removes_the_webhook_that_carries_no_secret() -> None:
    deleted: list[str] = []
    ours = {"id": 2, "url": "http://us/webhook", "headers": {"X-Clickpose-Secret": "hush"}}
    theirs = {"id": 1, "url": "http://us/webhook", "headers": {}}

    def studio(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            deleted.append(request.url.path)
            return httpx.Response(204)
        return httpx.Response(200, json=[theirs, ours] if request.method == "GET" else {"id": 4})

    assert make_client(studio).connect_backend(1, "http://us", title="clickpose")["id"] == 4
    assert deleted == ["/api/webhooks/1/"]
