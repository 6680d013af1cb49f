"""The pose service as the ingress sees it: replicas behind a handle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, cast

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from clickpose.annotations import Click, Pose
from clickpose.errors import ClickPoseError, NotReady
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from serve.images.uploads import UploadMissing, Uploads, name_of
from serve.monitoring.metrics import Metrics
from serve.monitoring.replica_status import ReplicaStatus, Reply
from serve.monitoring.request_log import tell
from serve.sessions.recovery import Recollection, StatesMissing

logger = logging.getLogger(__name__)

STATUS_TIMEOUT_S = 5.0
ATTEMPTS = 3
PAUSE_S = 0.1
BATCH_PAUSE_S = 0.5


class Busy(NotReady):
    """More requests are waiting than the service takes; the same request will succeed later."""


class RemotePoseService:
    """A ``PoseService`` whose work is done by model replicas; requests about one picture go to the same replica.

    Args:
        replicas: handle of the ``PoseReplica`` deployment.
        skeleton: the schema the replicas speak.
        first_version: the version that was wanted when the service was built.
        timeout_s: seconds a request may take in all.
        max_sessions: annotators' screens remembered here, too.
        max_upload_bytes: memory for pictures that programs send.
    """

    def __init__(
        self,
        replicas: DeploymentHandle[Any],
        skeleton: Skeleton,
        *,
        first_version: str,
        timeout_s: float,
        max_sessions: int = 1000,
        max_upload_bytes: int = 256 * 2**20,
    ) -> None:
        self.skeleton = skeleton
        self.metrics = Metrics()
        self.recollection = Recollection(max_sessions)
        self.uploads = Uploads(max_upload_bytes)
        self._replicas = replicas
        self._version = first_version
        self._timeout_s = timeout_s
        self._statuses: list[ReplicaStatus] = []

    async def model_version(self) -> str:
        """Return the version that every replica served when last asked; during a change, the one before."""
        return self._version

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        """Predict every person of a picture from scratch; in a batch, be patient when others are being served."""
        with self.metrics.timed("batch" if in_batch else "open"):
            deadline = time.monotonic() + self._timeout_s
            while in_batch and time.monotonic() < deadline:
                with suppress(Busy):
                    return (await self._call("detect", image_url, image_url)).answer
                await asyncio.sleep(BATCH_PAUSE_S)
            return (await self._call("detect", image_url, image_url)).answer

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        """Apply one edit to the poses on an annotator's screen."""
        with self.metrics.timed("add_person" if isinstance(edit, PersonEdit) else "refine"):
            recalled = self.recollection.recall(screen)
            try:
                reply = await self._call("edit", screen.image_url, screen, edit, recalled)
            except StatesMissing:
                recalled = self.recollection.recall(screen, with_states=True)
                reply = await self._call("edit", screen.image_url, screen, edit, recalled)
            self.recollection.note(screen, reply.number, reply.answer.poses)
            return reply.answer

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> PoseAnswer:
        """Refine poses that the caller keeps."""
        with self.metrics.timed("refine"):
            return (await self._call("refine", image_url, image_url, poses, clicks, hold)).answer

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> PoseAnswer:
        """Add a person to poses that the caller keeps."""
        with self.metrics.timed("add_person"):
            return (await self._call("add_person", image_url, image_url, poses, box_px)).answer

    async def upload(self, data: bytes) -> str:
        """Keep an encoded picture for a while, and return its name."""
        name = name_of(data)
        await self._call("take_upload", name, name, data)
        return self.uploads.keep(data)

    async def status(self) -> dict[str, Any]:
        """Return whether every replica has a model, and which, as of the last look; wait for nobody."""
        versions = sorted({status.version for status in self._statuses if status.version})
        return {
            "ready": bool(versions) and all(status.version for status in self._statuses),
            "model_version": self._version,
            "versions": versions or [self._version],
            "refused": sorted({status.refused for status in self._statuses if status.refused}),
        }

    async def details(self) -> dict[str, Any]:
        """Return what every replica said of itself at the last look, and the number of webhook events so far."""
        replicas = [asdict(status) for status in self._statuses]
        return await self.status() | {"replicas": replicas, "webhook_events": self.metrics.webhook_events}

    @asynccontextmanager
    async def watching(self, every_s: float) -> AsyncIterator[None]:
        """Keep an eye on the replicas while the service is up."""
        stopped = asyncio.Event()
        task = asyncio.create_task(self._watch(every_s, stopped))
        try:
            yield
        finally:
            stopped.set()
            task.cancel()  # Serve's responses swallow a cancellation, hence the event
            await asyncio.wait([task], timeout=STATUS_TIMEOUT_S)

    async def look(self) -> None:
        """Ask every replica for its status."""
        answers = await self._replicas.broadcast("status").results_async(
            timeout_s=STATUS_TIMEOUT_S, return_exceptions=True
        )
        self._statuses = [answer for answer in answers if isinstance(answer, ReplicaStatus)]
        versions = {status.version for status in self._statuses}
        if len(versions) == 1 and None not in versions:
            self._version = cast(str, versions.pop())
        self.metrics.observe_replicas(self._statuses)
        self.metrics.observe_held(self.recollection.num_held())

    async def _watch(self, every_s: float, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            try:
                await self.look()
            except Exception:  # Serve raises many kinds while replicas come and go; the next look will do
                logger.warning("the replicas could not be asked for their status", exc_info=True)
            await asyncio.sleep(every_s)

    async def _call(self, method: str, image_url: str, *arguments: Any) -> Reply:
        """Ask the replica that has the picture; one that lacks a picture sent to another one is sent it, too."""
        try:
            return await self._call_as_it_is(method, image_url, *arguments)
        except UploadMissing:
            await self._call_as_it_is("take_upload", image_url, image_url, self.uploads.read(image_url))
        return await self._call_as_it_is(method, image_url, *arguments)

    async def _call_as_it_is(self, method: str, image_url: str, *arguments: Any) -> Reply:
        """Ask the replica that is in charge, and whoever takes its place if it dies under the request."""
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._ask_patiently(method, image_url, *arguments)
        except (TimeoutError, RequestCancelledError) as error:  # Serve may turn one into the other
            raise NotReady(f"no answer within {self._timeout_s:g} s; try again") from error
        self.metrics.count_encoded(reply.found_encoded)
        tell(encoded=reply.found_encoded, model_version=reply.answer.model_version)
        return reply

    async def _ask_patiently(self, method: str, image_url: str, *arguments: Any) -> Reply:
        """Ask again when a replica died, but not for ever: it may be the request that kills them."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._ask(method, image_url, *arguments)
            except RayActorError:
                logger.warning("a replica died during %s; asking another one", method)
                await asyncio.sleep(PAUSE_S)
        try:
            return await self._ask(method, image_url, *arguments)
        except RayActorError as error:
            raise NotReady("the model's replicas are being replaced; try again") from error

    async def _ask(self, method: str, image_url: str, *arguments: Any) -> Reply:
        response = self._replicas.options(method_name="answer", session_id=image_url).remote(method, *arguments)
        try:
            reply = await response
        except (asyncio.CancelledError, RequestCancelledError):
            response.cancel()  # type: ignore[no-untyped-call]
            raise
        except BackPressureError as error:
            raise Busy("too many requests are waiting; try again") from error
        except DeploymentUnavailableError as error:
            raise NotReady("the model's replicas are not up; try again") from error
        if isinstance(reply, ClickPoseError):
            raise reply
        return cast(Reply, reply)
