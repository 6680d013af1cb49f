"""Images that programs annotate step by step. The service keeps the poses, and earlier states for undo.

Programs that keep poses themselves use the stateless routes (``rest``). Steps on one image are sent one after the
other: two at once may reach different ingresses, which then build on the same state. A step is repeated if its ingress
crashes before the answer; if that was after the step was done, a removal or an undo is done twice.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from clickpose.annotations import Click, Pose
from clickpose.errors import ClickPoseError, InvalidClick
from integrations.label_studio.service import PoseAnswer
from serve.replica.edits import find_box
from serve.sessions.locks import SessionLocks
from serve.sessions.peers import Peers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_STATES = 100


class NotOpen(ClickPoseError):
    """No image is open under this key: it was closed, or has expired."""


@dataclass
class OpenImage:
    """An image that is being annotated.

    Attributes:
        image: its name.
        states: the answers so far, oldest first; the last one is current.
        step: number of steps so far; of two copies, the one with more steps is newer.
    """

    image: str
    states: list[PoseAnswer]
    step: int = 0

    @property
    def poses(self) -> Sequence[Pose]:
        """All persons in the image now."""
        return self.states[-1].poses

    def advance(self, answer: PoseAnswer) -> PoseAnswer:
        """Make an answer the current state."""
        self.states = [*self.states, answer][-MAX_STATES:]
        return answer


class OpenImageService(Protocol):
    """What open images need: answers of the model, and the copies that other ingresses have."""

    @property
    def open_images(self) -> OpenImages:
        """The images that are open here."""

    @property
    def peers(self) -> Peers[Any]:
        """All ingresses."""

    async def predict(self, image_url: str) -> PoseAnswer:
        """Detect every person in an image."""

    async def refine(self, image_url: str, poses: Sequence[Pose], clicks: Sequence[Click], hold: str) -> PoseAnswer:
        """Refine the caller's poses."""

    async def add_person(self, image_url: str, poses: Sequence[Pose], box_px: Sequence[float]) -> PoseAnswer:
        """Add a person to the caller's poses."""


class OpenImages:
    """Open images by key; the least recently used one is closed first.

    Every ingress keeps a copy, so that any of them can take the next step.

    Args:
        service: detects and refines; its peers keep copies.
        max_open: maximum number of open images.
    """

    def __init__(self, service: OpenImageService, max_open: int = 1000) -> None:
        self.service = service
        self.max_open = max_open
        self._open: OrderedDict[str, OpenImage] = OrderedDict()
        self._locks = SessionLocks()

    def copy(self, key: str) -> OpenImage | None:
        """Return this ingress's copy of an open image, if it has one."""
        return self._open.get(key)

    def keep(self, key: str, opened: OpenImage) -> None:
        """Keep a copy of an open image, unless the one here is newer."""
        if key not in self._open or opened.step >= self._open[key].step:
            self._open[key] = opened
        self._open.move_to_end(key)
        while len(self._open) > self.max_open:
            self._open.popitem(last=False)

    def forget(self, key: str) -> None:
        """Remove this ingress's copy of an open image."""
        self._open.pop(key, None)

    async def open(self, image: str, poses: Sequence[Pose] | None = None) -> tuple[str, PoseAnswer]:
        """Open an image, with detected poses or with the given ones; return its key and the first state."""
        predict = self.service.predict(image) if poses is None else self.service.refine(image, poses, [], "all")
        answer = await predict
        key = secrets.token_urlsafe(12)
        await self.service.peers.ask(partial(_keep, key=key, opened=OpenImage(image, [answer])))
        return key, answer

    async def current(self, key: str) -> PoseAnswer:
        """Return the current state of an image."""
        return (await self._find(key)).states[-1]

    async def click(self, key: str, clicks: Sequence[Click], hold: str) -> PoseAnswer:
        """Apply clicks."""
        async with self._locked(key) as opened:
            return opened.advance(await self.service.refine(opened.image, opened.poses, clicks, hold))

    async def add_person(self, key: str, box_px: Sequence[float]) -> PoseAnswer:
        """Add the person inside a box, as the last one; a box that exists already is the same request sent again."""
        async with self._locked(key) as opened:
            if find_box(opened.poses, box_px) is not None:
                return opened.states[-1]
            return opened.advance(await self.service.add_person(opened.image, opened.poses, box_px))

    async def remove_person(self, key: str, person: int) -> PoseAnswer:
        """Remove a person; the numbers of later persons decrease by one."""
        async with self._locked(key) as opened:
            if not 0 <= person < len(opened.poses):
                raise InvalidClick(f"person {person} is outside 0..{len(opened.poses) - 1}")
            others = [pose for index, pose in enumerate(opened.poses) if index != person]
            return opened.advance(replace(opened.states[-1], poses=others))

    async def undo(self, key: str) -> PoseAnswer:
        """Return to the state before the last step; the first state cannot be undone."""
        async with self._locked(key) as opened:
            opened.states = opened.states[:-1] or opened.states
            return opened.states[-1]

    async def close(self, key: str) -> None:
        """Close an image.

        Raises:
            NotOpen: no image is open under this key.
        """
        await self._find(key)
        await self.service.peers.ask(partial(_forget, key=key))

    @asynccontextmanager
    async def _locked(self, key: str) -> AsyncIterator[OpenImage]:
        """Wait until earlier steps on this image are done; a step that fails changes nothing."""
        async with self._locks.take(key):
            opened = await self._find(key)
            yield opened
            opened.step += 1
            await self.service.peers.ask(partial(_keep, key=key, opened=opened))

    async def _find(self, key: str) -> OpenImage:
        """Return an open image; ask the other ingresses if it was opened before this one started."""
        if key not in self._open:
            copies = await self.service.peers.ask(partial(_copy, key=key))
            for copy in filter(None, copies):
                self.keep(key, copy)
        if key not in self._open:
            raise NotOpen(f"no image is open under {key[:40]!r}: open it again with the poses of the last answer")
        self._open.move_to_end(key)
        return self._open[key]


def _copy(service: OpenImageService, key: str) -> OpenImage | None:
    return service.open_images.copy(key)


def _keep(service: OpenImageService, key: str, opened: OpenImage) -> None:
    service.open_images.keep(key, opened)


def _forget(service: OpenImageService, key: str) -> None:
    service.open_images.forget(key)
