"""The front door: one thin web application that holds no model, so that it answers whatever the replicas do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.middleware import Middleware

from clickpose.errors import (
    ClickPoseError,
    ImageError,
    InvalidAnnotation,
    InvalidClick,
    LabelStudioError,
    NotReady,
    Unauthorized,
)
from clickpose.skeleton import Skeleton
from integrations.label_studio.auth import Guard
from integrations.label_studio.routes import build_router
from serve.body_limit import BodyLimit
from serve.remote import Busy, RemotePoseService
from serve.rest import build_rest_router
from serve.schemas import Problem
from serve.settings import AppArgs
from serve.webhooks import WebhookForwarder

STATUS = {
    ImageError: 422,
    InvalidClick: 422,
    InvalidAnnotation: 422,
    Unauthorized: 401,
    LabelStudioError: 502,
    Busy: 429,
    NotReady: 503,
}
RETRY_AFTER_S = {Busy: "1", NotReady: "3"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in sorted({401, 411, 413, 500, *STATUS.values()})
}
MAX_DETAIL_CHARS = 200  # a field's name may be as long as a body


def build_api(service: RemotePoseService, args: AppArgs) -> FastAPI:
    """Return the web application around a pose service."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with service.watching(args.poll_s):
            yield

    api = FastAPI(
        title="clickpose", lifespan=lifespan, middleware=_doors(args), docs_url=None, redoc_url=None, openapi_url=None,
        responses=PROBLEMS,
    )  # fmt: skip
    webhook = WebhookForwarder(args.forward_webhooks_to, service.metrics)
    api.include_router(build_router(service, webhook=webhook, image_key=args.image_key))
    api.include_router(build_rest_router(service))
    api.add_exception_handler(ClickPoseError, explain)
    api.add_exception_handler(RequestValidationError, explain_invalid)
    return api


def _doors(args: AppArgs) -> list[Middleware]:
    """Return what a request has to pass, from outside in."""
    limit, credentials = Middleware(BodyLimit, max_bytes=args.max_body_bytes), args.credentials()
    if credentials is None:
        return [limit]
    return [Middleware(Guard, credentials=credentials, webhook_secret=args.webhook_password()), limit]


async def explain(request: Request, error: Exception) -> JSONResponse:
    """Answer with an error's one sentence; the status code says whose fault it is, and whether to try again."""
    status = STATUS.get(type(error), 500)  # type: ignore[arg-type]
    headers = {"Retry-After": RETRY_AFTER_S[type(error)]} if type(error) in RETRY_AFTER_S else None  # type: ignore[index]
    return JSONResponse({"detail": str(error)}, status, headers)


async def explain_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer with the first thing that is wrong with a body, without repeating it: it may be huge, or no JSON."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, why = ".".join(map(str, first["loc"])), first.get("ctx", {}).get("error", first["msg"])
    return JSONResponse({"detail": f"{where[:MAX_DETAIL_CHARS]}: {why}"}, 422)


@serve.ingress()
class PoseIngress:
    """The deployment that hosts the web application.

    Args:
        replicas: handle of the model replicas.
        args: the application's arguments, secrets filled in.
        skeleton: the schema the application speaks.
        first_version: the model version that was wanted when the application was built.
    """

    def __init__(self, replicas: DeploymentHandle[Any], args: AppArgs, skeleton: Skeleton, first_version: str) -> None:
        self.args = args
        self.service = RemotePoseService(
            replicas, skeleton, first_version=first_version, timeout_s=args.request_timeout_s
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the web application once the service exists; Serve calls this."""
        return build_api(self.service, self.args)
