"""Authentication: one user and password (all that Label Studio can send to a backend), or bearer tokens.

Every comparison takes constant time. A request is checked by its headers alone, before its body is read: the body of an
unauthenticated request is never parsed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from clickpose.errors import Unauthorized

WEBHOOK_SECRET_HEADER = "X-Clickpose-Secret"
CHALLENGE = {"WWW-Authenticate": 'Basic realm="clickpose"'}
LIVENESS, WEBHOOK = "/health", "/webhook"


@dataclass(frozen=True)
class Credentials:
    """Accepted credentials; without a user and without tokens every request is rejected."""

    user: str = ""
    password: str = ""
    tokens: tuple[str, ...] = ()

    def check(self, authorization: str | None) -> None:
        """Check the value of an ``Authorization`` header.

        Raises:
            Unauthorized: it is missing, of an unknown kind, or wrong.
        """
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() == "basic" and self.user:
            allowed = same(_decoded(value), _spellings(f"{self.user}:{self.password}"))
        elif scheme.lower() == "bearer":
            allowed = same(_raw(value), [spelling for token in self.tokens for spelling in _spellings(token)])
        else:
            allowed = False
        if not allowed:
            raise Unauthorized("the request has no valid credentials: send Basic or Bearer authorization")


class Guard:
    """ASGI middleware that requires credentials for every route except ``GET /health``.

    A webhook may send a secret of its own in the header ``X-Clickpose-Secret`` instead. All users who may edit the
    project can read it in Label Studio, so it is valid for no other route.

    Args:
        app: the application behind it.
        credentials: accepted credentials.
        webhook_secret: accepted from a webhook instead.
    """

    def __init__(self, app: ASGIApp, credentials: Credentials, webhook_secret: str | None = None) -> None:
        self.app = app
        self.credentials = credentials
        self.webhook_secret = webhook_secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer 401."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Unauthorized as error:
                return await JSONResponse({"detail": str(error)}, 401, CHALLENGE)(scope, receive, send)
        return await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        path, headers = scope["path"].removeprefix(scope.get("root_path", "")), Headers(scope=scope)
        if path == LIVENESS and scope["method"] == "GET":
            return
        given = headers.get(WEBHOOK_SECRET_HEADER)
        if path == WEBHOOK and self.webhook_secret and given and same(_raw(given), _spellings(self.webhook_secret)):
            return
        self.credentials.check(headers.get("authorization"))


def same(given: bytes, wanted: Iterable[bytes]) -> bool:
    """Tell whether a secret is one of those wanted, in constant time."""
    return any([hmac.compare_digest(_digest(given), _digest(one)) for one in wanted])  # a list: no early exit


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()  # of fixed length, so that the secret's length does not show


def _spellings(secret: str) -> list[bytes]:
    """Return the ways in which clients write a secret: the new ones in UTF-8, Label Studio in Latin-1."""
    in_utf8 = [secret.encode()]
    try:
        return [*in_utf8, secret.encode("latin-1")]
    except UnicodeEncodeError:
        return in_utf8


def _raw(header: str) -> bytes:
    """Return a header's bytes; servers hand it over as if they were Latin-1."""
    return header.encode("latin-1", "replace")


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:  # also for what is not even ASCII
        return b""
