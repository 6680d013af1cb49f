"""How errors are answered: a status code, one sentence, and a count by reason."""

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
        status: HTTP status code.
        reason: label under which it is counted.
        retry_after_s: seconds until a retry may succeed; None if a retry is useless.
    """

    status: int
    reason: str
    retry_after_s: int | None = None


UNKNOWN = Kind(500, "error")
KINDS: dict[type, Kind] = {  # an error is answered like its nearest base class in this table
    ImageError: Kind(422, "image"),
    UploadMissing: Kind(404, "expired"),
    NotOpen: Kind(404, "expired"),
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
MAX_DETAIL_CHARS = 200  # a field's name may be as long as the body


class ErrorAnswers:
    """Turns errors into answers.

    Args:
        metrics: counts the errors.
    """

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.metrics = metrics

    def install(self, api: FastAPI) -> None:
        """Handle the errors of an application."""
        api.add_exception_handler(ClickPoseError, self.explain)
        api.add_exception_handler(RequestValidationError, self.explain_invalid)

    def count(self, error: Exception) -> None:
        """Count an error."""
        self.metrics.count_rejected(kind_of(error).reason)

    async def explain(self, request: Request, error: Exception) -> JSONResponse:
        """Answer with the error's message."""
        self.count(error)
        kind = kind_of(error)
        headers = {"Retry-After": str(kind.retry_after_s)} if kind.retry_after_s else None
        return JSONResponse({"detail": str(error)}, kind.status, headers)

    async def explain_invalid(self, request: Request, error: Exception) -> JSONResponse:
        """Answer with the first problem of a body, without quoting it: it may be huge, or not JSON."""
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where, why = ".".join(map(str, first["loc"])), first.get("ctx", {}).get("error", first["msg"])
        return JSONResponse({"detail": f"{where[:MAX_DETAIL_CHARS]}: {why}"}, 422)


def kind_of(error: Exception) -> Kind:
    """Return how an error is answered: like its nearest base class in the table."""
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), UNKNOWN)
