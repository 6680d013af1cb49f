"""A limit on the size of requests."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BodyLimit:
    """Rejects requests whose body is too long, before the body is read."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 413; answer 411 if its length is not given."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            length = headers.get("content-length", "0")
            if "transfer-encoding" in headers and "content-length" not in headers:
                return await JSONResponse({"detail": "Content-Length is required"}, 411)(scope, receive, send)
            if not length.isdecimal() or int(length) > self.max_bytes:
                detail = f"the body is longer than {self.max_bytes} bytes"
                return await JSONResponse({"detail": detail}, 413)(scope, receive, send)
        return await self.app(scope, receive, send)
