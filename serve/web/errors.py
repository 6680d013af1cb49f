"""Answers to requests that are not done as asked: one sentence, whose fault it is, and a count by reason."""

from __future__ import annotations

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
from serve.monitoring.metrics import Metrics
from serve.web.open_images import NotOpen
from serve.web.remote import Busy
from serve.web.schemas import Problem

STATUS: dict[type[Exception], int] = {
    ImageError: 422,
    UploadMissing: 404,
    NotOpen: 404,
    InvalidClick: 422,
    InvalidAnnotation: 422,
    Unauthorized: 401,
    LabelStudioError: 502,
    Busy: 429,
    NotReady: 503,
}
RETRY_AFTER_S: dict[type[Exception], str] = {Busy: "1", NotReady: "3"}
REASONS: dict[type[Exception], str] = {
    ImageError: "picture",
    UploadMissing: "not kept",
    NotOpen: "not kept",
    InvalidClick: "click",
    InvalidAnnotation: "annotation",
    Unauthorized: "unauthorized",
    LabelStudioError: "label studio",
    Busy: "busy",
    NotReady: "not ready",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in sorted({401, 411, 413, 500, *STATUS.values()})
}
MAX_DETAIL_CHARS = 200  # a field's name may be as long as a body


class Refusals:
    """Knows the answer to each kind of error.

    Args:
        metrics: counts them.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def install(self, api: FastAPI) -> None:
        """Answer the errors of an application."""
        api.add_exception_handler(ClickPoseError, self.explain)
        api.add_exception_handler(RequestValidationError, self.explain_invalid)

    def count(self, error: Exception) -> None:
        """Count what went wrong."""
        self.metrics.count_rejected(REASONS.get(type(error), "error"))

    async def explain(self, request: Request, error: Exception) -> JSONResponse:
        """Answer with an error's one sentence; the status code says whose fault it is, and whether to try again."""
        self.count(error)
        headers = {"Retry-After": RETRY_AFTER_S[type(error)]} if type(error) in RETRY_AFTER_S else None
        return JSONResponse({"detail": str(error)}, STATUS.get(type(error), 500), headers)

    async def explain_invalid(self, request: Request, error: Exception) -> JSONResponse:
        """Answer with the first thing that is wrong with a body, without repeating it: it may be huge, or no JSON."""
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where, why = ".".join(map(str, first["loc"])), first.get("ctx", {}).get("error", first["msg"])
        return JSONResponse({"detail": f"{where[:MAX_DETAIL_CHARS]}: {why}"}, 422)
