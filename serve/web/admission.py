"""Who may come in while much is going on: programs, as long as enough of the queue stays free for people.

A program that is turned away before its body is read costs next to nothing, and knows when to come back. Label Studio
does not: it shows its annotators no error and asks no second time. So they may fill the whole queue, programs half.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROGRAMS = "/v1/"
RETRY_AFTER_S = 1


class Admission:
    """Answers 429 to programs while as many of their requests are in progress as may be.

    Args:
        app: answers the others.
        most: requests of programs in progress at once.
        count_rejected: told the reason why a request was turned away.
    """

    def __init__(self, app: ASGIApp, most: int, count_rejected: Callable[[str], None]) -> None:
        self.app = app
        self.most = most
        self.count_rejected = count_rejected
        self.in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        if not _is_program_at_work(scope):
            return await self.app(scope, receive, send)
        if self.in_progress >= self.most:
            self.count_rejected("busy")
            detail, headers = "too many requests are waiting; try again", {"Retry-After": str(RETRY_AFTER_S)}
            return await JSONResponse({"detail": detail}, 429, headers)(scope, receive, send)
        self.in_progress += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_progress -= 1


def _is_program_at_work(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return str(scope["path"].removeprefix(scope.get("root_path", ""))).startswith(PROGRAMS)
