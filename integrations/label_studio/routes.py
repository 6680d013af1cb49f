"""The ML-backend protocol of Label Studio 1.23, spoken directly.

    GET  /health     on every page that lists backends; within one second
    POST /setup      after each successful /health, within three seconds; returns the model version
    GET  /versions   for the list of model versions
    POST /predict    a batch without ``params.context``, an annotator's edit with it
    POST /webhook    events, within one second, never repeated

An edit is never answered with an error: Label Studio would not show it, and would keep the clicked point, which would
then be submitted. If an edit fails, the answer is the screen as it was, and the log gets one line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from fastapi import APIRouter, BackgroundTasks

from clickpose.errors import ClickPoseError
from integrations.label_studio.answers import write_answer
from integrations.label_studio.interactions import image_url_of, read_interaction, unchanged_result
from integrations.label_studio.schemas import PredictRequest, Task, WebhookEvent
from integrations.label_studio.service import PoseService
from integrations.label_studio.tasks import make_prediction, mean_confidence
from integrations.redaction import redacted
from integrations.strict_json import StrictRoute

STATUS_LIMIT_S = 0.5  # Label Studio waits one second for /health and then shows the backend as disconnected
MAX_PARALLEL_PREDICTIONS = 8  # of one batch; Label Studio waits 100 s for all of it

Webhook: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[None] | None]

logger = logging.getLogger(__name__)


def build_router(
    service: PoseService,
    *,
    webhook: Webhook | None = None,
    image_key: str = "image",
    on_failure: Callable[[Exception], None] | None = None,
) -> APIRouter:
    """Return the routes of an ML backend, without authentication: ``auth.Guard`` adds it.

    Args:
        service: predicts images and applies edits.
        webhook: called with the action and the body of each event, after Label Studio has had its answer.
        image_key: the key of a task's data that holds the image.
        on_failure: called with the error of each prediction or edit that failed.
    """
    backend = _Backend(service, image_key, on_failure)
    router = APIRouter(route_class=StrictRoute)
    router.add_api_route("/health", backend.health, methods=["GET"])
    router.add_api_route("/setup", backend.setup, methods=["POST"])
    router.add_api_route("/versions", backend.versions, methods=["GET"])
    router.add_api_route("/predict", backend.predict, methods=["POST"])

    @router.post("/webhook")
    async def receive(event: WebhookEvent, after: BackgroundTasks) -> dict[str, Any]:
        if webhook is not None:
            after.add_task(webhook, event.action, event.model_dump())
        return {}

    return router


class _Backend:
    """The routes' handlers around one service."""

    def __init__(
        self, service: PoseService, image_key: str, on_failure: Callable[[Exception], None] | None = None
    ) -> None:
        self.service = service
        self.image_key = image_key
        self.on_failure = on_failure or (lambda error: None)

    async def health(self) -> dict[str, Any]:
        """Answer that the backend is up, with the state of the service if that is known quickly."""
        try:
            async with asyncio.timeout(STATUS_LIMIT_S):
                return {"status": "UP", "service": await self.service.status()}
        except TimeoutError:
            return {"status": "UP", "service": {"status": "busy"}}

    async def setup(self) -> dict[str, Any]:
        """Return the current model version; a new one makes Label Studio request new predictions."""
        return {"model_version": await self.service.model_version()}

    async def versions(self) -> dict[str, Any]:
        """Return the model versions that the service knows."""
        status = await self.service.status()
        return {
            "versions": status.get("versions") or [await self.service.model_version()],
            "message": "ok",
        }

    async def predict(self, request: PredictRequest) -> dict[str, Any]:
        """Predict a batch of tasks, or apply an annotator's edit to one."""
        if request.params.context is not None and request.tasks:
            results = [await self._edit(request)]
        else:
            results = await self._predict_all(request)
        return {"results": results}

    async def _predict_all(self, request: PredictRequest) -> list[dict[str, Any]]:
        """Return one entry per task, always: with fewer, Label Studio drops them all."""
        turns = asyncio.Semaphore(MAX_PARALLEL_PREDICTIONS)

        async def predict_in_turn(task: Task) -> dict[str, Any]:
            async with turns:
                return await self._predict(task, request.label_config, in_batch=len(request.tasks) > 1)

        return await asyncio.gather(*(predict_in_turn(task) for task in request.tasks))

    async def _predict(self, task: Task, interface: str | None, *, in_batch: bool) -> dict[str, Any]:
        try:
            image_url = image_url_of(task, self.image_key, interface)
            answer = await self.service.predict(image_url, in_batch=in_batch)
        except Exception as error:
            self.on_failure(error)
            _log_failure("no prediction", task, error)
            return {"result": [], "score": 0.0}
        return make_prediction(answer.poses, self.service.skeleton, answer.size_wh, model_version=answer.model_version)

    async def _edit(self, request: PredictRequest) -> dict[str, Any]:
        try:
            return await self._apply_edit(request)
        except Exception as error:
            self.on_failure(error)
            _log_failure("the pose was not changed", request.tasks[0], error)
            return {"result": unchanged_result(request), "score": 0.0}

    async def _apply_edit(self, request: PredictRequest) -> dict[str, Any]:
        interaction = read_interaction(request, self.service.skeleton, self.image_key)
        answer = await self.service.edit(interaction.screen, interaction.edit)
        return {
            "result": write_answer(interaction, answer, self.service.skeleton),
            "score": mean_confidence(answer.poses),
            "model_version": answer.model_version,
        }


def _log_failure(consequence: str, task: Task, error: Exception) -> None:
    """Log one line for an expected error, and a traceback for any other."""
    expected = isinstance(error, ClickPoseError)
    logger.log(
        logging.WARNING if expected else logging.ERROR,
        "task %s: %s: %s",
        task.id,
        consequence,
        redacted(str(error) if expected else repr(error)),
        exc_info=None if expected else error,
    )
