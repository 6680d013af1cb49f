"""JSON as the standard has it: whatever is accepted can be written again.

Python's own reader also accepts NaN, infinity, half a surrogate pair and lists nested a thousand deep, all of which
fail only when an answer repeats them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


class StrictRoute(APIRoute):
    """A route, for ``APIRouter(route_class=...)``, whose body is rejected with status 422 unless it is valid JSON."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the handler; FastAPI calls this."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Return the body's content; JSONDecodeError, as FastAPI expects, if it has none."""
        try:
            value = from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        if not _is_finite(value):
            raise json.JSONDecodeError("number out of range", "", 0)
        return value


def _is_finite(value: Any) -> bool:
    """Tell whether all numbers are finite; a large exponent is read as infinity."""
    unread = [value]
    while unread:
        one = unread.pop()
        if isinstance(one, dict):
            unread.extend(one.values())
        elif isinstance(one, list):
            unread.extend(one)
        elif isinstance(one, float) and not math.isfinite(one):
            return False
    return True
