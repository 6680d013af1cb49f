"""One replica: a model, the images it has encoded, and the sessions of annotators who work on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from clickpose.annotations import Click, Pose
from clickpose.errors import ClickPoseError, ImageError, InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from serve.images.source import ImageSource
from serve.models.low_priority import low_priority_thread
from serve.models.smoke_test import LoadModel, ServedModel
from serve.models.source import ModelSource
from serve.models.watch import ModelWatch
from serve.monitoring.replica_status import ReplicaStatus, Reply, name_of_machine, name_of_process, resident_bytes
from serve.monitoring.timing import Stopwatch, add_parts, collected, timed
from serve.replica.edits import apply_edit
from serve.replica.encode_queue import EncodeQueue
from serve.replica.encoded_cache import EncodedCache
from serve.replica.routing import routing_stats
from serve.sessions.locks import SessionLocks
from serve.sessions.recovery import Backup, Holdings
from serve.sessions.sessions import Sessions, State
from serve.settings import AppArgs

if TYPE_CHECKING:
    from clickpose.predictor import EncodedImage

T = TypeVar("T")
Step: TypeAlias = "Callable[[PoseReplica], Awaitable[Reply]]"


class PoseReplica:
    """Answers every request about the images that are routed to it.

    The model runs in two threads: one encodes images, the other does everything else. So a click waits only for other
    clicks, not for images that are being opened. The first thread has a lower priority than the second.

    Args:
        args: the application's arguments.
        skeleton: skeleton of every model that is served.
        models: place that models are loaded from.
        images: places that images may be read from.
        load: loads a predictor from a local folder, with a version.
    """

    def __init__(
        self, args: AppArgs, skeleton: Skeleton, models: ModelSource, images: ImageSource, load: LoadModel
    ) -> None:
        self.args = args
        self.skeleton = skeleton
        self.images = images
        self.models = ModelWatch(models, skeleton, load)
        self.encoded: EncodedCache[EncodedImage] = EncodedCache(args.cache_mib * 2**20)
        self.models.on_swap = self.encoded.keep_only
        self.sessions = Sessions(args.sessions)
        self.holdings = Holdings(self.sessions)
        self._locks = SessionLocks()
        self.machine = name_of_machine()
        self._queue = 0
        encoding = low_priority_thread("encode")
        self._encode_queue = EncodeQueue(partial(self._run_in, encoding), args.images_together())
        self._posing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pose")
        self._watching = asyncio.get_running_loop().create_task(self.models.watch(args.poll_s))

    async def answer(self, step: Step) -> Reply | ClickPoseError:
        """Run a step; return errors meant for the caller, since Serve would log the message of a raised one."""
        try:
            with collected() as parts_ms, timed("replica"):
                reply = await step(self)
        except ClickPoseError as error:
            return error
        return replace(reply, parts_ms=parts_ms, machine=self.machine)

    async def detect(self, image_url: str) -> Reply:
        """Detect every person in an image."""
        model = await self._model()
        encoded, found = await self._encode(model, image_url)
        return Reply(_answer(await self._run(model.predictor.detect, encoded), encoded, model), found)

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> Reply:
        """Refine the caller's poses; the replica does not store them."""
        self._check(poses)
        model = await self._model()
        encoded, found = await self._encode(model, image_url)
        refine = partial(model.predictor.refine, encoded, list(poses), list(clicks), hold=hold)
        return Reply(_answer(await self._run(refine), encoded, model), found)

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> Reply:
        """Add a person that the model missed to the caller's poses."""
        self._check(poses)
        model = await self._model()
        encoded, found = await self._encode(model, image_url)
        added = await self._run(model.predictor.add_person, encoded, list(poses), tuple(box_px))
        return Reply(_answer(added, encoded, model), found)

    async def take_upload(self, image_url: str, data: bytes) -> Reply:
        """Store an uploaded image, and detect every person in it; an image that cannot be decoded is not stored."""
        self.images.uploads.keep(data)
        try:
            return await self.detect(image_url)
        except ImageError:
            self.images.uploads.forget(image_url)
            raise

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit, backup: Backup | None = None) -> Reply:
        """Apply an edit to the poses that an annotator sees, and store the answer; an edit that fails changes nothing.

        Raises:
            StatesMissing: this replica does not hold the session, and the backup does not contain its answers.
        """
        self._check(screen.saved)
        model = await self._model()
        async with self._locks.take(screen.session) as overlaps:
            if backup is not None:
                self.holdings.catch_up(screen, backup)
            encoded, found = await self._encode(model, screen.image_url)
            draft = self.sessions.draft(screen)
            poses = _recall(draft, screen, overlaps=overlaps)
            if poses is None:
                poses = await self._first_poses(model, encoded, edit)
                draft.record(screen.session, poses)
            present = {point.person for point in screen.fresh}
            after, edited = await self._run(apply_edit, model.predictor, encoded, poses, edit, present)
            draft.record(screen.session, after)
            self.sessions.adopt(draft, screen.session)
            number = self.holdings.advance(screen)
        return Reply(_answer(after, encoded, model, edited), found, number)

    async def status(self) -> ReplicaStatus:
        """Return this replica's status."""
        models, cache = self.models, self.encoded
        return ReplicaStatus(
            version=models.version,
            refused=models.refused,
            problem=models.problem,
            image_bytes=models.image_bytes,
            cached_images=len(cache),
            cached_bytes=cache.num_bytes,
            cache_hits=cache.hits,
            cache_misses=cache.misses,
            sessions=len(self.sessions),
            queue=self._queue,
            replica=name_of_process(),
            pid=os.getpid(),
            memory_bytes=resident_bytes(),
        )

    def record_routing_stats(self) -> dict[str, Any]:
        """Return which requests should be sent here; Serve passes it on to every ingress."""
        return routing_stats(self.encoded.images(), ready=self.models.version is not None)

    def check_health(self) -> None:
        """Make Serve replace this replica if it no longer checks for new models."""
        if self._watching.done():
            raise RuntimeError("the check for new models has stopped")

    async def _first_poses(self, model: ServedModel, encoded: EncodedImage, edit: KeypointEdit | PersonEdit) -> State:
        """Return the poses for an empty screen: none if the edit draws a box, detected ones if it is a click."""
        if isinstance(edit, PersonEdit):
            return ()
        return tuple(await self._run(model.predictor.detect, encoded))

    async def _model(self) -> ServedModel:
        """Return the model that answers one request from start to end."""
        return await self.models.model(self.args.loading_timeout_s)

    async def _encode(self, model: ServedModel, image_url: str) -> tuple[EncodedImage, bool]:
        """Return an encoded image, and whether it was in the cache or already being encoded."""

        async def make() -> EncodedImage:
            image = await asyncio.to_thread(self.images.read, image_url)
            return await self._encode_queue.encode(model.predictor, image)

        key = (image_url, model.version)
        found = key in self.encoded
        return await self.encoded.get(key, make), found

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a step on an encoded image."""
        return await self._run_in(self._posing, function, *arguments)

    async def _run_in(self, thread: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
        self._queue += 1
        watch = Stopwatch()
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, watch.run, function, *arguments)
        finally:
            self._queue -= 1
            add_parts(watch.parts_ms())

    def _check(self, poses: Sequence[Pose]) -> None:
        """Reject poses of another skeleton."""
        for person, pose in enumerate(poses):
            if len(pose.keypoints_px) != len(self.skeleton):
                raise InvalidAnnotation(
                    f"person {person} has {len(pose.keypoints_px)} keypoints, but "
                    f"skeleton {self.skeleton.name!r} has {len(self.skeleton)}"
                )


def _recall(sessions: Sessions, screen: Screen, *, overlaps: bool) -> State | None:
    """Return the poses to edit; an edit that overlaps an earlier one builds on its answer, not yet on the screen."""
    newest = sessions.newest(screen.session) if overlaps else None
    return sessions.recall(screen) if newest is None else newest


def _answer(poses: Sequence[Pose], encoded: EncodedImage, model: ServedModel, edited: int | None = None) -> PoseAnswer:
    return PoseAnswer(list(poses), encoded.size_wh, model.version, edited)
