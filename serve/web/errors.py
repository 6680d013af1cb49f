"""Answers to requests that are not done as asked: one sentence, whose fault it is, and a count by reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from clickpose.errors import (
    ClickPoseError,
    ImageError,
    InvalidAnnotation,
    InvalidClick,
    LabelStudioError,
    NotReady,
    Unauthorized,
)
from serve.images.uploads import UploadMissing
from serve.monitoring.metrics import ServiceMetrics
from serve.replica.client import Busy
from serve.web.open_images import NotOpen
from serve.web.schemas import Problem


@dataclass(frozen=True)
class Kind:
    """How one kind of error is answered.

    Attributes:
        status: the status code.
        reason: the name under which it is counted.
        retry_after_s: when the same request may succeed, None if never.
    """

    status: int
    reason: str
    retry_after_s: int | None = None


UNKNOWN = Kind(500, "error")
KINDS: dict[type, Kind] = {  # an error is answered as its nearest base class in here
    ImageError: Kind(422, "picture"),
    UploadMissing: Kind(404, "not kept"),
    NotOpen: Kind(404, "not kept"),
    InvalidClick: Kind(422, "click"),
    InvalidAnnotation: Kind(422, "annotation"),
    Unauthorized: Kind(401, "unauthorized"),
    LabelStudioError: Kind(502, "label studio"),
    Busy: Kind(429, "busy", retry_after_s=1),
    NotReady: Kind(503, "not ready", retry_after_s=3),
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in sorted({401, 411, 413, 500, *(kind.status for kind in KINDS.values())})
}
MAX_DETAIL_CHARS = 200  # a field's name may be as long as a body


class ErrorAnswers:
    """Knows the answer to each kind of error.

    Args:
        metrics: counts them.
    """

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.metrics = metrics

    def install(self, api: FastAPI) -> None:
        """Answer the errors of an application."""
        api.add_exception_handler(ClickPoseError, self.explain)
        api.add_exception_handler(RequestValidationError, self.explain_invalid)

    def count(self, error: Exception) -> None:
        """Count what went wrong."""
        self.metrics.count_rejected(kind_of(error).reason)

    async def explain(self, request: Request, error: Exception) -> JSONResponse:
        """Answer with an error's one sentence; the status code says whose fault it is, and whether to try again."""
        self.count(error)
        kind = kind_of(error)
        headers = {"Retry-After": str(kind.retry_after_s)} if kind.retry_after_s else None
        return JSONResponse({"detail": str(error)}, kind.status, headers)

    async def explain_invalid(self, request: Request, error: Exception) -> JSONResponse:
        """Answer with the first thing that is wrong with a body, without repeating it: it may be huge, or no JSON."""
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where, why = ".".join(map(str, first["loc"])), first.get("ctx", {}).get("error", first["msg"])
        return JSONResponse({"detail": f"{where[:MAX_DETAIL_CHARS]}: {why}"}, 422)


def kind_of(error: Exception) -> Kind:
    """Return how an error is answered: as its nearest base class that has an answer."""
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), UNKNOWN)
