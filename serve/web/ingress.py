"""The front door: one thin web application that holds no model, so that it answers whatever the replicas do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.middleware import Middleware

from clickpose.skeleton import Skeleton
from integrations.label_studio.auth import Credentials, Guard
from integrations.label_studio.routes import build_router
from serve.monitoring.request_log import RequestLog, log_to_stderr
from serve.settings import AppArgs
from serve.web.admission import Admission
from serve.web.body_limit import BodyLimit
from serve.web.errors import PROBLEMS, ErrorAnswers
from serve.web.open_images import OpenImages
from serve.web.remote import RemotePoseService
from serve.web.rest import build_rest_router
from serve.web.rest_sessions import build_open_router, build_upload_router
from serve.web.webhooks import WebhookForwarder


def build_api(service: RemotePoseService, args: AppArgs) -> FastAPI:
    """Return the web application around a pose service."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with service.watching(args.poll_s):
            yield

    api = FastAPI(
        title="clickpose", lifespan=lifespan, middleware=_doors(service, args), responses=PROBLEMS,
        docs_url=None, redoc_url=None, openapi_url=None,
    )  # fmt: skip
    errors = ErrorAnswers(service.metrics)
    errors.install(api)
    webhook = WebhookForwarder(args.forward_webhooks_to, service.metrics)
    api.include_router(build_router(service, webhook=webhook, image_key=args.image_key, on_failure=errors.count))
    api.include_router(build_rest_router(service))
    api.include_router(build_open_router(OpenImages(service, args.sessions)))
    api.include_router(build_upload_router(service))
    return api


def _doors(service: RemotePoseService, args: AppArgs) -> list[Middleware]:
    """Return what a request has to pass, from outside in."""
    count = service.metrics.count_rejected
    return [
        Middleware(RequestLog, count_rejected=count),
        *_guards(args),
        Middleware(Admission, most=args.max_programs(), count_rejected=count),
        Middleware(BodyLimit, max_bytes=args.max_body_bytes),
    ]


def _guards(args: AppArgs) -> list[Middleware]:
    """Return the check of the secret, if there is one."""
    if args.secret is None:
        return []
    secret = args.secret.get_secret_value()
    webhook_secret = (args.webhook_secret or args.secret).get_secret_value()
    return [Middleware(Guard, credentials=Credentials(args.user, secret, (secret,)), webhook_secret=webhook_secret)]


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
        if args.log_requests:
            log_to_stderr()
        self.args = args
        self.service = RemotePoseService(
            replicas,
            skeleton,
            first_version=first_version,
            timeout_s=args.request_timeout_s,
            max_sessions=args.sessions,
            max_upload_bytes=args.upload_mib * 2**20,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the web application once the service exists; Serve calls this."""
        return build_api(self.service, self.args)
