"""Images that wait to be encoded. A GPU encodes all of them in one call, a CPU one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from clickpose.predictor import EncodedImage, Predictor


@dataclass(frozen=True, eq=False)
class Waiting:
    """An image that waits, and the future of its result."""

    predictor: Predictor
    image: Image.Image
    result: asyncio.Future[EncodedImage]


class EncodeQueue:
    """Encodes images in the order in which they arrive.

    Args:
        run: runs a function with arguments in the thread that encodes.
        max_together: maximum number of images per call of the model.
    """

    def __init__(self, run: Callable[..., Awaitable[Any]], max_together: int) -> None:
        self.run = run
        self.max_together = max_together
        self._waiting: list[Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def encode(self, predictor: Predictor, image: Image.Image) -> EncodedImage:
        """Return an encoded image."""
        waiting = Waiting(predictor, image, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await waiting.result

    async def _work(self) -> None:
        while self._waiting:
            predictor = self._waiting[0].predictor
            batch = [one for one in self._waiting if one.predictor is predictor][: self.max_together]
            self._waiting = [one for one in self._waiting if one not in batch]
            await self._encode(batch)

    async def _encode(self, batch: list[Waiting]) -> None:
        """Encode a batch; if that fails, each image alone, so that a bad image or too many spoil no other."""
        predictor, images = batch[0].predictor, [one.image for one in batch]
        try:
            encoded = await self.run(predictor.encode_all, images)
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].result, error)
                return
            for one in batch:
                await self._encode([one])
            return
        for one, its in zip(batch, encoded, strict=True):
            _settle(one.result, its)


def _settle(future: asyncio.Future[EncodedImage], result: EncodedImage | Exception) -> None:
    """Complete a future, unless its request was cancelled."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
