"""The stateless REST interface for programs; Label Studio has its own routes.

    POST /v1/detect        image                     every person
    POST /v1/refine        image, poses, clicks      the same persons, refined; clicked keypoints are held
    POST /v1/add-person    image, poses, box         the same persons and one more
    GET  /v1/skeleton                                names and order of the keypoints
    GET  /v1/status                                  every replica's model and cache, webhook events so far
    GET  /metrics                                    the same for Prometheus
    GET  /docs, /openapi.json                        this interface, for people and for programs

Every answer contains the version of the model that produced it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from clickpose.annotations import Click, Pose
from integrations.label_studio.service import PoseAnswer, PoseService
from integrations.strict_json import StrictRoute
from serve.monitoring.metrics import ServiceMetrics
from serve.web.api_page import POLICY, write_page
from serve.web.schemas import (
    AddPersonRequest,
    DetectRequest,
    PosesResponse,
    RefineRequest,
    SkeletonResponse,
    StatusResponse,
    fill_examples,
    to_poses,
)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatelessPoseService(PoseService, Protocol):
    """What the REST routes need besides a ``PoseService``: steps on the caller's poses."""

    metrics: ServiceMetrics

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> PoseAnswer:
        """Refine poses by clicks."""
        ...

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> PoseAnswer:
        """Add the person inside a box."""
        ...

    async def upload(self, data: bytes) -> str:
        """Store an image file until memory runs short, and return its name."""
        ...

    async def details(self) -> dict[str, Any]:
        """Return every replica's status."""
        ...


def build_rest_router(service: StatelessPoseService) -> APIRouter:
    """Return the stateless routes."""
    router = APIRouter(route_class=StrictRoute)

    @router.post("/v1/detect")
    async def detect(request: DetectRequest) -> PosesResponse:
        """Detect every person in an image."""
        return PosesResponse.of(await service.predict(request.image))

    @router.post("/v1/refine")
    async def refine(request: RefineRequest) -> PosesResponse:
        """Refine poses by clicks."""
        clicks = [click.to_click() for click in request.clicks]
        return PosesResponse.of(await service.refine(request.image, to_poses(request.poses), clicks, request.hold))

    @router.post("/v1/add-person")
    async def add_person(request: AddPersonRequest) -> PosesResponse:
        """Add a person that the model missed."""
        return PosesResponse.of(await service.add_person(request.image, to_poses(request.poses), request.box_px))

    @router.get("/v1/skeleton")
    async def skeleton() -> SkeletonResponse:
        """Return the names and the order of the keypoints."""
        return SkeletonResponse.model_validate(service.skeleton.to_dict())

    @router.get("/v1/status")
    async def status() -> StatusResponse:
        """Return every replica's model, cache and queue."""
        return StatusResponse.model_validate(await service.details())

    _add_descriptions(router, service)
    return router


def _add_descriptions(router: APIRouter, service: StatelessPoseService) -> None:
    """Add the routes for operators and developers: metrics, and the description of this interface."""

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return metrics in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=METRICS_TYPE)

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> dict[str, Any]:
        """Return the description of this interface for programs."""
        return fill_examples(request.app.openapi(), len(service.skeleton))

    @router.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        """Return the description of this interface as a page."""
        page = write_page(fill_examples(request.app.openapi(), len(service.skeleton)))
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})
