"""Admission control: programs may fill half of the queue, annotators all of it.

Rejecting a program before its body is read costs almost nothing, and the program can retry. Label Studio cannot: it
shows annotators no error and never retries.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROGRAMS = "/v1/"
RETRY_AFTER_S = 1


class Admission:
    """Answers 429 to programs while the maximum number of their requests is in progress.

    Args:
        app: answers all other requests.
        max_requests: maximum number of requests of programs in progress.
        count_rejected: called with the reason when a request is rejected.
    """

    def __init__(self, app: ASGIApp, max_requests: int, count_rejected: Callable[[str], None]) -> None:
        self.app = app
        self.max_requests = max_requests
        self.count_rejected = count_rejected
        self.in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if not _is_from_program(scope):
            return await self.app(scope, receive, send)
        if self.in_progress >= self.max_requests:
            self.count_rejected("busy")
            detail, headers = "too many requests are waiting; try again", {"Retry-After": str(RETRY_AFTER_S)}
            return await JSONResponse({"detail": detail}, 429, headers)(scope, receive, send)
        self.in_progress += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_progress -= 1


def _is_from_program(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return str(scope["path"].removeprefix(scope.get("root_path", ""))).startswith(PROGRAMS)
