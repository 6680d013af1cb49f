"""One replica: a model, the pictures it has encoded, and the screens of the annotators who work on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from clickpose.annotations import Click, Pose
from clickpose.errors import ClickPoseError, ImageError, InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from serve.images.source import ImageSource
from serve.models.low_priority import low_priority_thread
from serve.models.smoke_test import LoadModel
from serve.models.source import ModelSource
from serve.models.watch import ModelWatch, ServedModel
from serve.monitoring.replica_status import ReplicaStatus, Reply, name_of_process, resident_bytes
from serve.replica.edits import apply_edit
from serve.replica.encoded_cache import EncodedCache
from serve.sessions.locks import SessionLocks
from serve.sessions.recovery import AnswerCounts, Backup
from serve.sessions.sessions import Sessions, State
from serve.settings import AppArgs

if TYPE_CHECKING:
    from clickpose.predictor import EncodedImage

T = TypeVar("T")
Step: TypeAlias = "Callable[[PoseReplica], Awaitable[Reply]]"

NO_BACKUP = Backup()


class PoseReplica:
    """Answers every request about the pictures that are routed to it.

    The model runs in two threads of its own: one encodes pictures, and one does all the rest, so that a click waits
    for clicks only, not for the pictures that others open meanwhile. The first one gives way to the second.

    Args:
        args: the application's arguments.
        skeleton: the schema that the application speaks.
        models: where models come from.
        images: where pictures come from.
        load: makes a predictor from a local folder and a version.
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
        self.counts = AnswerCounts(self.sessions)
        self._locks = SessionLocks()
        self._queue = 0
        self._encoding = low_priority_thread("encode")
        self._posing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pose")
        self._watching = asyncio.get_running_loop().create_task(self.models.watch(args.poll_s))

    async def answer(self, step: Step) -> Reply | ClickPoseError:
        """Run a step; return an error that is meant for the caller: Serve would log all that a raised one says."""
        try:
            return await step(self)
        except ClickPoseError as error:
            return error

    async def detect(self, image_url: str) -> Reply:
        """Predict every person of a picture."""
        model = await self._model()
        encoded, found = await self._encode(model, image_url)
        return Reply(_answer(await self._run(model.predictor.detect, encoded), encoded, model), found)

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> Reply:
        """Refine poses that the caller keeps; nothing is remembered here."""
        self._check(poses)
        model = await self._model()
        encoded, found = await self._encode(model, image_url)
        refine = partial(model.predictor.refine, encoded, list(poses), list(clicks), hold=hold)
        return Reply(_answer(await self._run(refine), encoded, model), found)

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> Reply:
        """Add a person the model missed to poses that the caller keeps."""
        self._check(poses)
        model = await self._model()
        encoded, found = await self._encode(model, image_url)
        added = await self._run(model.predictor.add_person, encoded, list(poses), tuple(box_px))
        return Reply(_answer(added, encoded, model), found)

    async def take_upload(self, image_url: str, data: bytes) -> Reply:
        """Keep a picture that was sent, and predict it; one that cannot be decoded is not kept."""
        self.images.uploads.keep(data)
        try:
            return await self.detect(image_url)
        except ImageError:
            self.images.uploads.forget(image_url)
            raise

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit, backup: Backup = NO_BACKUP) -> Reply:
        """Apply an edit to the poses on an annotator's screen, and remember the answer; nothing of a refused one.

        Raises:
            StatesMissing: the front door recalls more of the session than is known here.
        """
        self._check(screen.saved)
        model = await self._model()
        async with self._locks.take(screen.session) as overlaps:
            self.counts.catch_up(backup)
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
            number = self.counts.advance(screen.session, backup)
        return Reply(_answer(after, encoded, model, edited), found, number)

    async def status(self) -> ReplicaStatus:
        """Return what this replica does and holds."""
        models, cache = self.models, self.encoded
        return ReplicaStatus(
            version=models.version,
            refused=models.refused,
            problem=models.problem,
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

    def check_health(self) -> None:
        """Let Serve replace this replica if it can no longer follow the pointer."""
        if self._watching.done():
            raise RuntimeError("the watch for new models has ended")

    async def _first_poses(self, model: ServedModel, encoded: EncodedImage, edit: KeypointEdit | PersonEdit) -> State:
        """Return the poses for an empty screen: none for who draws a box, all that are found for who clicks."""
        if isinstance(edit, PersonEdit):
            return ()
        return tuple(await self._run(model.predictor.detect, encoded))

    async def _model(self) -> ServedModel:
        """Return the model to answer one request with, from its first step to its last."""
        return await self.models.model(self.args.loading_patience_s)

    async def _encode(self, model: ServedModel, image_url: str) -> tuple[EncodedImage, bool]:
        """Return a picture encoded, and whether it was so already, or was in the making."""

        async def make() -> EncodedImage:
            image = await asyncio.to_thread(self.images.read, image_url)
            return await self._run_in(self._encoding, model.predictor.encode, image)

        key = (image_url, model.version)
        found = key in self.encoded
        return await self.encoded.get(key, make), found

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a step that needs an encoded picture."""
        return await self._run_in(self._posing, function, *arguments)

    async def _run_in(self, thread: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
        self._queue += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)
        finally:
            self._queue -= 1

    def _check(self, poses: Sequence[Pose]) -> None:
        """Refuse poses of another skeleton."""
        for person, pose in enumerate(poses):
            if len(pose.keypoints_px) != len(self.skeleton):
                raise InvalidAnnotation(
                    f"person {person} has {len(pose.keypoints_px)} keypoints, "
                    f"skeleton {self.skeleton.name!r} has {len(self.skeleton)}"
                )


def _recall(sessions: Sessions, screen: Screen, *, overlaps: bool) -> State | None:
    """Return the poses to edit; an edit that overlaps another builds on it, since the screen cannot show it yet."""
    newest = sessions.newest(screen.session) if overlaps else None
    return sessions.recall(screen) if newest is None else newest


def _answer(poses: Sequence[Pose], encoded: EncodedImage, model: ServedModel, edited: int | None = None) -> PoseAnswer:
    return PoseAnswer(list(poses), encoded.size_wh, model.version, edited)
