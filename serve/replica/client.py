"""Client of the replicas, used by the ingress: typed methods, one retry policy, the replica's own errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

from grpc import RpcError
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from clickpose.annotations import Click, Pose
from clickpose.errors import ClickPoseError, NotReady
from integrations.label_studio.service import KeypointEdit, PersonEdit, Screen
from serve.images.uploads import UploadMissing
from serve.monitoring.metrics import ServiceMetrics
from serve.monitoring.replica_status import ReplicaStatus, Reply
from serve.monitoring.request_log import add_facts
from serve.monitoring.timing import add_parts, timed
from serve.replica.replica import PoseReplica, Step
from serve.replica.routing import routing_key
from serve.sessions.recovery import Backup

ReadUpload: TypeAlias = Callable[[str], Awaitable[bytes]]

logger = logging.getLogger(__name__)

STATUS_TIMEOUT_S = 5.0
ATTEMPTS = 3
PAUSE_S = 0.1
LOST = "the model's replicas are being replaced; try again"


class Busy(NotReady):
    """Too many requests are waiting; the same request will succeed later."""


class ReplicaLost(NotReady):
    """The replica ended during the call, or the connection to it did."""


class ReplicaClient:
    """Calls the replica that is responsible for an image, and its successor if it crashes during the call.

    Every method raises what the replica's method of the same name raises, ``Busy`` if too many requests are waiting,
    and ``NotReady`` if there is no replica or no answer in time.

    Args:
        handle: handle of the ``PoseReplica`` deployment.
        read_upload: returns an uploaded image; a replica that lacks one receives it again.
        metrics: counts cache hits and misses.
        timeout_s: seconds until a call is given up.
    """

    def __init__(
        self, handle: DeploymentHandle[Any], read_upload: ReadUpload, metrics: ServiceMetrics, timeout_s: float
    ) -> None:
        self.read_upload = read_upload
        self.metrics = metrics
        self.timeout_s = timeout_s
        self._handle = handle

    async def detect(self, image_url: str) -> Reply:
        """Detect every person in an image."""
        return await self._call(image_url, partial(PoseReplica.detect, image_url=image_url))

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> Reply:
        """Refine the caller's poses."""
        step = partial(PoseReplica.refine, image_url=image_url, poses=poses, clicks=clicks, hold=hold)
        return await self._call(image_url, step)

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> Reply:
        """Add a person to the caller's poses."""
        step = partial(PoseReplica.add_person, image_url=image_url, poses=poses, box_px=box_px)
        return await self._call(image_url, step)

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit, backup: Backup) -> Reply:
        """Apply an edit to the poses that an annotator sees."""
        step = partial(PoseReplica.edit, screen=screen, edit=edit, backup=backup)
        return await self._call(screen.image_url, step)

    async def take_upload(self, image_url: str, data: bytes) -> Reply:
        """Send an image file to the replica."""
        return await self._call_once(image_url, partial(PoseReplica.take_upload, image_url=image_url, data=data))

    async def statuses(self) -> list[ReplicaStatus]:
        """Return the status of every replica that answers in time."""
        answers = await self._handle.broadcast("status").results_async(
            timeout_s=STATUS_TIMEOUT_S, return_exceptions=True
        )
        return [answer for answer in answers if isinstance(answer, ReplicaStatus)]

    async def _call(self, image_url: str, step: Step) -> Reply:
        """Run a step on a replica; send the uploaded image first if the replica lacks it."""
        try:
            return await self._call_once(image_url, step)
        except UploadMissing:
            await self.take_upload(image_url, await self.read_upload(image_url))
        return await self._call_once(image_url, step)

    async def _call_once(self, image_url: str, step: Step) -> Reply:
        try:
            with timed("call"):
                async with asyncio.timeout(self.timeout_s):
                    reply = await self._call_with_retries(image_url, step)
        except (TimeoutError, RequestCancelledError) as error:  # Serve may turn one into the other
            raise NotReady(f"no answer within {self.timeout_s:g} s; try again") from error
        add_parts(reply.parts_ms)
        self.metrics.count_encoded(reply.found_encoded)
        add_facts(encoded=reply.found_encoded, model_version=reply.answer.model_version)
        return reply

    async def _call_with_retries(self, image_url: str, step: Step) -> Reply:
        """Retry when a replica is lost, but only a few times: the request itself may be the cause.

        A replica that cannot be reached may be on a machine that has failed, which Ray notices within seconds.
        """
        losses = 0
        while True:
            try:
                return await self._send(image_url, step)
            except ActorUnavailableError:
                logger.warning("a replica cannot be reached; trying again")
            except ReplicaLost as lost:
                logger.warning("a replica was lost during a call; calling another one: %r", lost.__cause__)
                losses += 1
                if losses == ATTEMPTS:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _send(self, image_url: str, step: Step) -> Reply:
        response = self._handle.options(method_name="answer", session_id=routing_key(image_url)).remote(step)
        try:
            reply = await response
        except (asyncio.CancelledError, RequestCancelledError) as error:
            response.cancel()  # type: ignore[no-untyped-call]
            if _was_cancelled():
                raise
            raise ReplicaLost(LOST) from error  # a replica that is stopped cancels what it does, and answers with that
        except BackPressureError as error:
            raise Busy("too many requests are waiting; try again") from error
        except DeploymentUnavailableError as error:
            raise NotReady("the model's replicas are not up; try again") from error
        except ActorUnavailableError:
            raise
        except (RayActorError, RpcError) as error:
            raise ReplicaLost(LOST) from error
        if isinstance(reply, ClickPoseError):
            raise reply
        return cast(Reply, reply)


def _was_cancelled() -> bool:
    """Return whether someone has cancelled the current task: the caller has left, or the time is up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
