"""Who may call: one user and password (all that Label Studio can send to a backend), or bearer tokens.

Every comparison takes the same time whether its first or its last character differs.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, HTTPException

from clickpose.errors import Unauthorized

WEBHOOK_SECRET_HEADER = "X-Clickpose-Secret"
CHALLENGE = {"WWW-Authenticate": 'Basic realm="clickpose"'}


@dataclass(frozen=True)
class Credentials:
    """What callers must show; without a user and without tokens nobody gets in."""

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
            allowed = same(_decoded(value), f"{self.user}:{self.password}")
        elif scheme.lower() == "bearer":
            allowed = any([same(value, token) for token in self.tokens])  # a list: no early exit
        else:
            allowed = False
        if not allowed:
            raise Unauthorized("the request carries no valid credentials: send Basic or Bearer authorization")


def require(credentials: Credentials | None) -> Callable[[str | None], None]:
    """Return a FastAPI dependency that lets nobody else in; None lets everybody in."""

    def check(authorization: Annotated[str | None, Header()] = None) -> None:
        if credentials is not None:
            _answer_401(credentials, authorization)

    return check


def require_for_webhook(
    credentials: Credentials | None, secret: str | None
) -> Callable[[str | None, str | None], None]:
    """Return a FastAPI dependency for webhooks, which carry a header of ours instead of a user and password."""

    def check(
        authorization: Annotated[str | None, Header()] = None,
        given: Annotated[str | None, Header(alias=WEBHOOK_SECRET_HEADER)] = None,
    ) -> None:
        if secret and given is not None and same(given, secret):
            return
        if secret or credentials is not None:
            _answer_401(credentials or Credentials(), authorization)

    return check


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _answer_401(credentials: Credentials, authorization: str | None) -> None:
    try:
        credentials.check(authorization)
    except Unauthorized as error:
        raise HTTPException(401, str(error), headers=CHALLENGE) from error


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
