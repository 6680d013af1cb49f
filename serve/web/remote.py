"""The pose service in the ingress: it keeps what must survive a replica, and lets replicas do the work."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, cast

from ray.serve.handle import DeploymentHandle

from clickpose.annotations import Click, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from serve.images.uploads import Uploads, name_of
from serve.monitoring.metrics import ServiceMetrics
from serve.monitoring.replica_status import ReplicaStatus, Reply, name_of_machine, name_of_process
from serve.replica.client import STATUS_TIMEOUT_S, Busy, ReplicaClient
from serve.sessions.peers import Peers
from serve.sessions.recovery import Backup, Backups, StatesMissing, merge
from serve.web.open_images import OpenImages

logger = logging.getLogger(__name__)

BATCH_PAUSE_S = 0.5
STARTING_PAUSE_S = 0.5  # until every replica has its model
COPY_TIMEOUT_S = 0.2  # an annotator waits: an ingress that hangs may get its copy later


@dataclass(frozen=True)
class IngressLimits:
    """How much an ingress keeps: sessions, which it backs up, and bytes of uploaded images."""

    sessions: int = 1000
    upload_bytes: int = 256 * 2**20


class RemotePoseService:
    """A ``PoseService`` whose work is done by model replicas.

    Args:
        replicas: handle of the ``PoseReplica`` deployment.
        skeleton: skeleton of every model that is served.
        first_version: model version to report until the replicas report theirs.
        timeout_s: seconds until a request is given up.
        limits: on what is kept here.
        ingresses: handle of all ingresses; None for a single one.
    """

    def __init__(
        self,
        replicas: DeploymentHandle[Any],
        skeleton: Skeleton,
        *,
        first_version: str,
        timeout_s: float,
        limits: IngressLimits = IngressLimits(),
        ingresses: DeploymentHandle[Any] | None = None,
    ) -> None:
        self.skeleton = skeleton
        self.metrics = ServiceMetrics()
        self.backups = Backups(limits.sessions, complete=ingresses is None)
        self.uploads = Uploads(limits.upload_bytes)
        self.open_images = OpenImages(self, limits.sessions)
        self.peers = Peers(self, ingresses)
        self.machine = name_of_machine()
        self._replicas = ReplicaClient(replicas, self.read_upload, self.metrics, timeout_s)
        self._version = first_version
        self._timeout_s = timeout_s
        self._statuses: list[ReplicaStatus] = []
        self._machines: set[str] = set()  # of all ingresses so far

    async def model_version(self) -> str:
        """Return the model version that all replicas last reported; while they change, the previous one."""
        return self._version

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        """Detect every person in an image; a request in a batch waits while the service is busy."""
        with self.metrics.timed("batch" if in_batch else "open"):
            deadline = time.monotonic() + self._timeout_s
            while in_batch and time.monotonic() < deadline:
                with suppress(Busy):
                    return (await self._replicas.detect(image_url)).answer
                await asyncio.sleep(BATCH_PAUSE_S)
            return (await self._replicas.detect(image_url)).answer

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        """Apply one edit to the poses that an annotator sees."""
        with self.metrics.timed("add_person" if isinstance(edit, PersonEdit) else "refine"):
            try:
                reply = await self._replicas.edit(screen, edit, self.backups.of(screen))
            except StatesMissing as missing:
                backups = await self.peers.ask(partial(_hand_over, screen=screen, holder=missing.replica))
                reply = await self._replicas.edit(screen, edit, merge(backups, screen.session))
            self.backups.record(screen, reply.number, reply.answer.poses)
            await self._copy_elsewhere(screen, reply)
            return reply.answer

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> PoseAnswer:
        """Refine the caller's poses."""
        with self.metrics.timed("refine"):
            return (await self._replicas.refine(image_url, poses, clicks, hold)).answer

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> PoseAnswer:
        """Add a person to the caller's poses."""
        with self.metrics.timed("add_person"):
            return (await self._replicas.add_person(image_url, poses, box_px)).answer

    async def upload(self, data: bytes) -> str:
        """Store an image file until memory runs short, and return its name."""
        name = name_of(data)
        await self._replicas.take_upload(name, data)
        return self.uploads.keep(data)

    async def read_upload(self, name: str) -> bytes:
        """Return an uploaded image that some ingress stores.

        Raises:
            UploadMissing: none does, or no longer.
        """
        if not self.peers.alone and name not in self.uploads:
            found = await self.peers.ask(partial(_find_upload, name=name))
            for data in filter(None, found):
                self.uploads.keep(data)
        return self.uploads.read(name)

    async def status(self) -> dict[str, Any]:
        """Return whether every replica has a model, and which, as last reported; this never waits."""
        versions = sorted({status.version for status in self._statuses if status.version})
        return {
            "ready": bool(versions) and all(status.version for status in self._statuses),
            "model_version": self._version,
            "versions": versions or [self._version],
            "refused": sorted({status.refused for status in self._statuses if status.refused}),
        }

    async def details(self) -> dict[str, Any]:
        """Return what every replica last reported, and this ingress's name and number of webhook events."""
        replicas = [asdict(status) for status in self._statuses]
        ours = {"ingress": name_of_process(), "webhook_events": self.metrics.webhook_events}
        return await self.status() | {"replicas": replicas} | ours

    @asynccontextmanager
    async def watching(self, every_s: float) -> AsyncIterator[None]:
        """Ask the replicas for their status regularly until the block ends."""
        stopped = asyncio.Event()
        task = asyncio.create_task(self._watch(every_s, stopped))
        try:
            yield
        finally:
            stopped.set()
            task.cancel()  # a pending call to Serve may swallow the cancellation, hence the event
            await asyncio.wait([task], timeout=STATUS_TIMEOUT_S)

    async def update_status(self) -> None:
        """Ask every replica for its status, and every ingress where it runs."""
        self._statuses = await self._replicas.statuses()
        self._machines.update(await self.peers.ask(_machine))
        versions = {status.version for status in self._statuses}
        if len(versions) == 1 and None not in versions:
            self._version = cast(str, versions.pop())
        self.metrics.observe_replicas(self._statuses)
        self.metrics.observe_held(self.backups.num_held())

    async def _copy_elsewhere(self, screen: Screen, reply: Reply) -> None:
        """Give the other ingresses an answer that only this machine has, unless all of them run here."""
        if reply.machine == self.machine and self._machines != {self.machine}:
            names = replace(screen, saved=(), fresh=())
            copy = partial(_record, screen=names, number=reply.number, poses=reply.answer.poses)
            await self.peers.ask(copy, COPY_TIMEOUT_S)

    async def _watch(self, every_s: float, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            try:
                await self.update_status()
            except Exception:  # Serve raises many kinds while replicas start and stop; the next attempt will do
                logger.warning("the replicas could not be asked for their status", exc_info=True)
            await asyncio.sleep(every_s if (await self.status())["ready"] else min(every_s, STARTING_PAUSE_S))


def _machine(service: RemotePoseService) -> str:
    return service.machine


def _record(service: RemotePoseService, screen: Screen, number: int, poses: Sequence[Pose]) -> None:
    service.backups.record(screen, number, poses)


def _hand_over(service: RemotePoseService, screen: Screen, holder: str) -> Backup:
    return service.backups.hand_over(screen, holder)


def _find_upload(service: RemotePoseService, name: str) -> bytes | None:
    return service.uploads.read(name) if name in service.uploads else None
