"""A reverse proxy in front of Label Studio that adds one script to its pages: points that are dragged get refined.

Label Studio sends no request when a point is dragged, and cannot load third-party scripts. So the proxy stands between
it and the browser. Everything is forwarded unchanged: streamed bodies, headers, cookies, redirects, and the browser's
``Host``, which Label Studio compares with the origin of every request that changes something. Only HTML pages get one
more line.

``page/main.js`` says what the script does. Without the proxy, Label Studio works as before.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton

OURS = "/__clickpose__"  # Label Studio has no such address
SCRIPT_TAG = f'<script type="module" src="{OURS}/main.js"></script>'.encode()
SENT = {".js": "text/javascript", ".css": "text/css"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
TIMEOUT = httpx.Timeout(None, connect=5.0)  # no time limit here: the browser decides how long it waits

HOP_BY_HOP = {  # RFC 9110, 7.6.1: about one connection only
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
READABLE_ENCODINGS = ("identity", "gzip", "deflate")

Headers = list[tuple[bytes, bytes]]


def build_proxy(
    label_studio_url: str, skeletons: Iterable[Skeleton], *, transport: httpx.AsyncBaseTransport | None = None
) -> Starlette:
    """Return the proxy as an ASGI application.

    Args:
        label_studio_url: where Label Studio is, without a path.
        skeletons: those whose limbs can be drawn.
        transport: for tests.

    Raises:
        InvalidConfig: the URL is not that of a server.
    """
    upstream = _Upstream(label_studio_url, transport or _new_transport())
    known = [{"keypoints": list(skeleton.keypoints), "links": named_links(skeleton)} for skeleton in skeletons]

    async def send_skeletons(request: Request) -> Response:
        return JSONResponse(known, headers={"Cache-Control": "no-cache"})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with upstream.transport:
            yield

    routes = [
        Route(f"{OURS}/skeletons.json", send_skeletons),
        Route(f"{OURS}/{{name}}", _send_script),
        Route("/{path:path}", upstream.forward, methods=METHODS),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def named_links(skeleton: Skeleton) -> list[tuple[str, str]]:
    """Return a skeleton's links as the names of both ends."""
    return [(skeleton.keypoints[first], skeleton.keypoints[second]) for first, second in skeleton.links]


class _Upstream:
    """Label Studio, as the proxy reaches it.

    Through a transport, not a client: a client would keep cookies of one user for the next, and follow redirects.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport) -> None:
        self.url = httpx.URL(url)
        if self.url.scheme not in ("http", "https") or not self.url.host or self.url.path != "/":
            raise InvalidConfig(f"{url!r} is not the address of a server: give it as http://HOST:PORT")
        self.transport = transport

    async def forward(self, request: Request) -> Response:
        """Forward a request, and return its answer."""
        try:
            answer = await self.transport.handle_async_request(self._request(request))
        except ClientDisconnect:
            return Response(status_code=400)  # the client has disconnected
        except httpx.TransportError as error:
            return _unreachable(self.url, error)
        if _is_page(request, answer):
            return await _with_script(answer)
        return _Streamed(answer)

    def _request(self, request: Request) -> httpx.Request:
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        return httpx.Request(
            request.method,
            self.url.copy_with(raw_path=target),
            headers=_end_to_end(request.headers.raw, drop=_replaced(request)) + _forwarding(request),
            content=request.stream() if has_body else None,
            extensions={"timeout": TIMEOUT.as_dict()},
        )


class _Streamed(StreamingResponse):
    """An answer that is forwarded while it arrives, with the exact bytes that Label Studio sent."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.aiter_raw(), answer.status_code)
        self.raw_headers = _end_to_end(answer.headers.raw)
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that has disconnected is not an error."""
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            await self.answer.aclose()


def _new_transport() -> httpx.AsyncHTTPTransport:
    """Return a transport without limits and one connection per request: a reused one may be closed at that moment."""
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))


async def _send_script(request: Request) -> Response:
    """Send a module of the page script, or its style sheet."""
    script = resources.files("integrations.label_studio") / "page" / request.path_params["name"]
    media_type = SENT.get(Path(script.name).suffix)
    if media_type is None or not script.is_file():
        return Response(status_code=404)
    return Response(script.read_bytes(), media_type=media_type, headers={"Cache-Control": "no-cache"})


def _wants_page(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _is_page(request: Request, answer: httpx.Response) -> bool:
    """Tell whether an answer is an HTML page that a browser shows, and that can be read here."""
    return (
        _wants_page(request)
        and answer.status_code == 200
        and answer.headers.get("content-type", "").startswith("text/html")
        and answer.headers.get("content-encoding", "identity") in READABLE_ENCODINGS
        and not answer.headers.get("content-disposition", "").startswith("attachment")
    )


async def _with_script(answer: httpx.Response) -> Response:
    """Return a page with the script tag at the end of its head; one without a head stays as it is."""
    try:
        body = await answer.aread()
    finally:
        await answer.aclose()
    page = Response(body.replace(b"</head>", SCRIPT_TAG + b"</head>", 1), answer.status_code)
    length = [(b"content-length", str(len(page.body)).encode())]
    page.raw_headers = _end_to_end(answer.headers.raw, drop={b"content-length", b"content-encoding", b"etag"}) + length
    return page


def _end_to_end(headers: Iterable[tuple[bytes, bytes]], drop: Iterable[bytes] = ()) -> Headers:
    """Return the headers, one entry per line, without hop-by-hop headers and those to drop."""
    lines = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in lines if name == b"connection" for token in value.split(b",")}
    without = HOP_BY_HOP | named | set(drop)
    return [(name, value) for name, value in lines if name not in without]


def _replaced(request: Request) -> set[bytes]:
    """Return the names of the headers that the proxy writes itself."""
    return {name for name, _ in _forwarding(request)}


def _forwarding(request: Request) -> Headers:
    """Return the headers that identify the client to Label Studio; pages are requested uncompressed."""
    client = request.client.host if request.client else ""
    hops = [hop for hop in (request.headers.get("x-forwarded-for"), client) if hop]
    told = {
        "x-forwarded-for": ", ".join(hops),
        "x-forwarded-proto": request.headers.get("x-forwarded-proto", request.url.scheme),
        "x-forwarded-host": request.headers.get("x-forwarded-host", request.headers.get("host", "")),
    }
    if _wants_page(request):
        told["accept-encoding"] = "identity"
    return [(name.encode(), value.encode("latin-1")) for name, value in told.items()]


def _unreachable(url: httpx.URL, error: Exception) -> Response:
    """Return the page that says that Label Studio did not answer."""
    where, why = html.escape(str(url)), html.escape(str(error) or type(error).__name__)
    return HTMLResponse(
        f"<!doctype html><title>Label Studio is not reachable</title>"
        f"<h1>Label Studio is not reachable</h1><p>{where} did not answer: {why}. Is it running? Then reload.</p>",
        status_code=502,
    )
