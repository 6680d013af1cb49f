"""The pose service as the ingress sees it: replicas behind a handle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, cast

from ray.serve.handle import DeploymentHandle

from clickpose.annotations import Click, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from serve.images.uploads import Uploads, name_of
from serve.monitoring.metrics import ServiceMetrics
from serve.monitoring.replica_status import ReplicaStatus
from serve.replica.client import STATUS_TIMEOUT_S, Busy, ReplicaClient
from serve.sessions.recovery import Backups, StatesMissing

logger = logging.getLogger(__name__)

BATCH_PAUSE_S = 0.5


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
        self.metrics = ServiceMetrics()
        self.backups = Backups(max_sessions)
        self.uploads = Uploads(max_upload_bytes)
        self._replicas = ReplicaClient(replicas, self.uploads, self.metrics, timeout_s)
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
                    return (await self._replicas.detect(image_url)).answer
                await asyncio.sleep(BATCH_PAUSE_S)
            return (await self._replicas.detect(image_url)).answer

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        """Apply one edit to the poses on an annotator's screen."""
        with self.metrics.timed("add_person" if isinstance(edit, PersonEdit) else "refine"):
            backup = self.backups.of(screen)
            try:
                reply = await self._replicas.edit(screen, edit, backup)
            except StatesMissing:
                backup = self.backups.of(screen, with_states=True)
                reply = await self._replicas.edit(screen, edit, backup)
            self.backups.record(screen, reply.number, reply.answer.poses)
            return reply.answer

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> PoseAnswer:
        """Refine poses that the caller keeps."""
        with self.metrics.timed("refine"):
            return (await self._replicas.refine(image_url, poses, clicks, hold)).answer

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> PoseAnswer:
        """Add a person to poses that the caller keeps."""
        with self.metrics.timed("add_person"):
            return (await self._replicas.add_person(image_url, poses, box_px)).answer

    async def upload(self, data: bytes) -> str:
        """Keep an encoded picture for a while, and return its name."""
        name = name_of(data)
        await self._replicas.take_upload(name, data)
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
        self._statuses = await self._replicas.statuses()
        versions = {status.version for status in self._statuses}
        if len(versions) == 1 and None not in versions:
            self._version = cast(str, versions.pop())
        self.metrics.observe_replicas(self._statuses)
        self.metrics.observe_held(self.backups.num_held())

    async def _watch(self, every_s: float, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            try:
                await self.look()
            except Exception:  # Serve raises many kinds while replicas come and go; the next look will do
                logger.warning("the replicas could not be asked for their status", exc_info=True)
            await asyncio.sleep(every_s)
