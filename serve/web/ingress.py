"""The ingress: a thin web application without a model, so that it always answers, whatever the replicas do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

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
from serve.web.remote import IngressLimits, RemotePoseService
from serve.web.rest import build_rest_router
from serve.web.rest_sessions import build_open_router, build_upload_router
from serve.web.webhooks import WebhookForwarder

T = TypeVar("T")


def build_api(service: RemotePoseService, args: AppArgs) -> FastAPI:
    """Return the web application around a pose service."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with service.watching(args.poll_s):
            yield

    api = FastAPI(
        title="clickpose", lifespan=lifespan, middleware=_checks(service, args), responses=PROBLEMS,
        docs_url=None, redoc_url=None, openapi_url=None,
    )  # fmt: skip
    errors = ErrorAnswers(service.metrics)
    errors.install(api)
    webhook = WebhookForwarder(args.forward_webhooks_to, service.metrics)
    api.include_router(build_router(service, webhook=webhook, image_key=args.image_key, on_failure=errors.count))
    api.include_router(build_rest_router(service))
    api.include_router(build_open_router(service.open_images))
    api.include_router(build_upload_router(service))
    return api


def _checks(service: RemotePoseService, args: AppArgs) -> list[Middleware]:
    """Return the checks that a request passes through, outermost first."""
    count = service.metrics.count_rejected
    return [
        Middleware(RequestLog, count_rejected=count),
        *_guards(args),
        Middleware(Admission, max_requests=args.max_programs(), count_rejected=count),
        Middleware(BodyLimit, max_bytes=args.max_body_bytes),
    ]


def _guards(args: AppArgs) -> list[Middleware]:
    """Return the check of the secret; none if anonymous access is allowed."""
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
        skeleton: skeleton of every model that is served.
        first_version: model version to report until the replicas report theirs.
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
            limits=IngressLimits(args.sessions, args.upload_mib * 2**20),
            ingresses=_all_ingresses() if args.ingresses > 1 else None,
        )

    async def answer_peer(self, question: Callable[[RemotePoseService], T]) -> T:
        """Answer a question of another ingress."""
        return question(self.service)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the web application; Serve calls this after ``__init__``."""
        return build_api(self.service, self.args)


def _all_ingresses() -> DeploymentHandle[Any]:
    """Return a handle of the deployment that this replica belongs to."""
    context = serve.get_replica_context()
    return serve.get_deployment_handle(context.deployment, context.app_name)
