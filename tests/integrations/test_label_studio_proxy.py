"""The reverse proxy, against a Label Studio that says what it is told to."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from clickpose.commands.proxying import running_proxy
from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from integrations.label_studio.proxy import SCRIPT_TAG, build_proxy
from integrations.label_studio.server import free_port

UPSTREAM = "http://label-studio:8080"
PAGE = b"<html><head><title>x</title></head><body></body></html>"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip, br"}

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(answer: Handler | httpx.Response) -> TestClient:
    """A browser behind the proxy of a Label Studio that answers so."""
    handler = answer if callable(answer) else lambda request: answer
    transport = httpx.MockTransport(lambda request: unread(handler(request)))
    proxy = build_proxy(UPSTREAM, [Skeleton.load("coco17")], transport=transport)
    return TestClient(proxy, base_url="http://annotate.example:8081", follow_redirects=False)


def unread(answer: httpx.Response) -> httpx.Response:
    """An answer as a network brings it: its body is still to come."""
    if not answer.is_stream_consumed:
        return answer
    return httpx.Response(answer.status_code, headers=answer.headers.multi_items(), stream=raw(answer.content))


def raw(*chunks: bytes) -> httpx.AsyncByteStream:
    """A body that is sent as it is, in these pieces."""

    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

    return Stream()


def test_page_gets_the_script_and_its_true_length() -> None:
    answer = httpx.Response(200, html=PAGE.decode(), headers={"X-Frame-Options": "DENY", "ETag": '"1"'})
    got = client_of(answer).get("/projects/", headers=BROWSER)
    assert got.content == PAGE.replace(b"</head>", SCRIPT_TAG + b"</head>")
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["x-frame-options"] == "DENY" and "etag" not in got.headers


@pytest.mark.parametrize(
    ("path", "headers", "answer"),
    [
        ("/api/projects", {"Accept": "application/json"}, httpx.Response(200, html=PAGE.decode())),
        ("/data/upload/1/a.jpg", BROWSER, httpx.Response(200, content=PAGE, headers={"Content-Type": "image/jpeg"})),
        ("/version", BROWSER, httpx.Response(200, html="{}")),
        ("/nowhere", BROWSER, httpx.Response(404, html=PAGE.decode())),
        (
            "/export.html",
            BROWSER,
            httpx.Response(200, html=PAGE.decode(), headers={"Content-Disposition": "attachment; filename=x.html"}),
        ),
    ],
    ids=["not asked for", "not HTML", "no head", "an error", "a download"],
)
def test_whatever_is_no_page_stays_as_it_is(path: str, headers: dict[str, str], answer: httpx.Response) -> None:
    got = client_of(answer).get(path, headers=headers)
    assert (got.status_code, got.content) == (answer.status_code, answer.content)
    assert got.headers["content-type"] == answer.headers["content-type"]


def test_page_is_asked_for_in_readable_form_and_the_rest_as_the_browser_asks() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, html=PAGE.decode())

    client = client_of(answer)
    client.get("/", headers=BROWSER)
    client.get("/static/main.js", headers=BROWSER | {"Accept": "*/*"})
    assert asked == ["identity", "gzip, br"]


def test_compressed_page_is_read_all_the_same() -> None:
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    got = client_of(httpx.Response(200, stream=raw(gzip.compress(PAGE)), headers=headers)).get("/", headers=BROWSER)
    assert SCRIPT_TAG in got.content and "content-encoding" not in got.headers


def test_a_page_in_an_unknown_encoding_stays_as_it_is() -> None:
    headers = {"Content-Type": "text/html", "Content-Encoding": "clay"}
    got = client_of(httpx.Response(200, stream=raw(b"\x01\x02"), headers=headers)).get("/", headers=BROWSER)
    assert got.content == b"\x01\x02" and got.headers["content-encoding"] == "clay"


def test_compressed_files_arrive_compressed() -> None:
    headers = {"Content-Type": "text/javascript", "Content-Encoding": "gzip"}
    packed = gzip.compress(b"let x = 1")
    proxy = client_of(httpx.Response(200, stream=raw(packed), headers=headers))
    with proxy.stream("GET", "/static/main.js") as got:
        assert b"".join(got.iter_raw()) == packed
        assert got.headers["content-encoding"] == "gzip"


def test_host_and_origin_are_the_browsers() -> None:
    """Label Studio refuses a change whose origin is not the host that it was sent to."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201)

    headers = {"Origin": "http://annotate.example:8081", "X-CSRFToken": "t", "X-Forwarded-For": "10.0.0.9"}
    client_of(answer).post("/api/tasks/1/drafts?project=2&a=%2Fb", headers=headers, json={"lead_time": 1})
    (request,) = seen
    assert str(request.url) == f"{UPSTREAM}/api/tasks/1/drafts?project=2&a=%2Fb"
    assert request.headers["host"] == "annotate.example:8081" == request.headers["x-forwarded-host"]
    assert request.headers["origin"] == headers["Origin"] and request.headers["x-csrftoken"] == "t"
    assert request.headers["x-forwarded-proto"] == "http"
    assert request.headers["x-forwarded-for"] == "10.0.0.9, testclient"
    assert request.content == b'{"lead_time":1}' and request.headers["content-length"] == "15"


def test_https_in_front_of_the_proxy_is_told() -> None:
    client = client_of(lambda request: httpx.Response(200, text=request.headers["x-forwarded-proto"]))
    assert client.get("/api", headers={"X-Forwarded-Proto": "https"}).text == "https"


def test_cookies_stay_apart_between_users() -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        return httpx.Response(
            200, headers=[("Set-Cookie", "csrftoken=a; Path=/"), ("Set-Cookie", "sessionid=b; Path=/")]
        )

    client = client_of(answer)
    got = client.get("/user/login/")
    assert got.headers.get_list("set-cookie") == ["csrftoken=a; Path=/", "sessionid=b; Path=/"]
    client.cookies.clear()
    client.get("/user/login/")
    client.get("/", headers={"Cookie": "sessionid=mine; x=1"})
    assert sent == [None, None, "sessionid=mine; x=1"]


def test_redirect_is_the_browsers_to_follow() -> None:
    got = client_of(httpx.Response(302, headers={"Location": "/projects/"})).get("/user/login/", headers=BROWSER)
    assert (got.status_code, got.headers["location"]) == (302, "/projects/")


def test_part_of_a_file_and_head_and_not_modified() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Content-Length": "4711"})
        if "if-none-match" in request.headers:
            return httpx.Response(304)
        return httpx.Response(206, content=b"bc", headers={"Content-Range": f"{request.headers['range']}/3"})

    client = client_of(answer)
    assert client.get("/a", headers={"Range": "bytes=1-2"}).headers["content-range"] == "bytes=1-2/3"
    assert client.head("/a").headers["content-length"] == "4711"
    assert client.get("/a", headers={"If-None-Match": '"1"'}).status_code == 304


def test_headers_about_one_connection_end_here() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert not {"te", "x-hop", "keep-alive"} & set(request.headers)
        return httpx.Response(200, headers={"Connection": "close, X-Once", "X-Once": "1", "X-Twice": "2"})

    got = client_of(answer).get("/", headers={"Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers"})
    assert "x-once" not in got.headers and got.headers["x-twice"] == "2"


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_label_studio_that_is_down_is_named(accept: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    got = client_of(refuse).get("/projects/", headers={"Accept": accept})
    assert got.status_code == 502
    assert UPSTREAM in got.text and "All connection attempts failed" in got.text


def test_pieces_pass_as_they_come() -> None:
    """The second piece is made only after the first has reached the browser."""
    arrived = asyncio.Event()
    received: list[bytes] = []

    class Stream(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.wait_for(arrived.wait(), 5)
            yield b"second"

        async def aclose(self) -> None:
            self.closed = True

    async def send(message: dict[str, Any]) -> None:
        received.append(message.get("body", b""))
        if b"first" in received:
            arrived.set()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    stream = Stream()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=stream))
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/export",
        "raw_path": b"/export",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(build_proxy(UPSTREAM, [], transport=transport)(scope, receive, send))
    assert [body for body in received if body] == [b"first", b"second"]
    assert stream.closed


def test_script_and_skeletons_are_served_and_nothing_else() -> None:
    client = client_of(httpx.Response(418))
    main = client.get("/__clickpose__/main.js")
    assert main.headers["content-type"].startswith("text/javascript") and "import" in main.text
    assert client.get("/__clickpose__/page.css").headers["content-type"].startswith("text/css")
    (skeleton,) = client.get("/__clickpose__/skeletons.json").json()
    assert skeleton["keypoints"][0] == "nose" and ["left_elbow", "left_wrist"] in skeleton["links"]
    for name in ("nothing.js", "..%2Fproxy.py", "__init__.py"):
        assert client.get(f"/__clickpose__/{name}").status_code in (404, 418)


@pytest.mark.parametrize("url", ["label-studio:8080", "ftp://label-studio", "http://label-studio/path", ""])
def test_address_that_is_no_servers_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfig, match="http://HOST:PORT"):
        build_proxy(url, [])


def test_running_proxy_draws_every_skeleton_it_knows_and_names_a_port_that_is_taken(tmp_path: Any) -> None:
    own = tmp_path / "hand.json"
    own.write_text('{"name": "hand2", "keypoints": ["wrist", "thumb"], "links": [[0, 1]]}')
    port = free_port()
    with running_proxy(UPSTREAM, [own], host="127.0.0.1", port=port) as url:
        skeletons = httpx.get(f"{url}/__clickpose__/skeletons.json", trust_env=False).json()
        with (
            pytest.raises(InvalidConfig, match=f"{port}.*--port"),
            running_proxy(UPSTREAM, [], host="127.0.0.1", port=port),
        ):
            pass
    assert {14, 17} <= {len(skeleton["keypoints"]) for skeleton in skeletons}
    assert {"keypoints": ["wrist", "thumb"], "links": [["wrist", "thumb"]]} in skeletons
