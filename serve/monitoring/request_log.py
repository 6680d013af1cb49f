"""One line of JSON per request: what happened and how long it took, but nothing of its content.

A line contains the route, never the full address, which may contain an image's name or a misplaced password. Of the
headers only the request's id is logged, if it is a valid one.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.monitoring.timing import HEADER, collected, write_header

logger = logging.getLogger("serve.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REASONS = {
    401: "unauthorized",
    404: "no such route",
    405: "no such route",
    411: "no length",
    413: "too long",
    422: "malformed",
    500: "error",
}
_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)


def add_facts(**facts: Any) -> None:
    """Add facts to the log line of the current request; without a current request, do nothing."""
    known = _facts.get()
    if known is not None:
        known.update(facts)


class RequestLog:
    """Writes one line for each request when it ends, successfully or not.

    Args:
        app: answers the requests.
        count_rejected: called with the reason of a rejection that has not been counted elsewhere.
    """

    def __init__(self, app: ASGIApp, count_rejected: Callable[[str], None]) -> None:
        self.app = app
        self.count_rejected = count_rejected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, then write its line."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 500
        facts: dict[str, Any] = {}
        token = _facts.set(facts)

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                parts_ms["ingress"] = 1000 * (time.perf_counter() - started)
                MutableHeaders(scope=message)[HEADER] = write_header(parts_ms)
            await send(message)

        try:
            with collected() as parts_ms:
                await self.app(scope, receive, note_status)
        finally:
            facts |= {f"{part}_ms": round(ms, 1) for part, ms in parts_ms.items() if part != "ingress"}
            if status in REASONS and "rejected" not in facts:
                self.count_rejected(REASONS[status])
            _facts.reset(token)
            write_line(scope, facts | {"status": status, "ms": round(1000 * (time.perf_counter() - started), 1)})


def write_line(scope: Scope, facts: dict[str, Any]) -> None:
    """Write the line of one request."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": _request_id(Headers(scope=scope)),
        "method": scope["method"] if scope["method"] in ("GET", "POST") else "other",
        "route": _route(scope),
    }
    logger.info(json.dumps(line | facts))


def log_to_stderr() -> None:
    """Write the lines to this process's stderr, which Ray keeps as a file; further calls do nothing.

    This uses the original stderr: Serve's replacement of ``sys.stderr`` drops or decorates lines.
    """
    if not logger.handlers:
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _route(scope: Scope) -> str:
    """Return the route that answered, or would have answered a rejected request; "none" for unknown addresses."""
    if "route" in scope:
        return str(scope["route"].path)
    return str(scope["path"]) if scope["path"] in scope["app"].openapi()["paths"] else "none"


def _request_id(headers: Headers) -> str:
    request_id = headers.get("x-request-id", "")
    return request_id if REQUEST_ID.fullmatch(request_id) else secrets.token_hex(8)
