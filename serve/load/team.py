"""Several annotators at work."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from clickpose.skeleton import Skeleton
from serve.load.annotator import LoadAnnotator
from serve.load.records import Log

CLICKS_PER_TASK = (6, 14)


def arrival_s(every_s: float) -> float:
    """Return the seconds within which annotators start: those of one image, so that they open images evenly."""
    return every_s * sum(CLICKS_PER_TASK) / 2


@dataclass
class Team:
    """Annotators who work on the same images, each on a task of her own.

    Attributes:
        images: sizes of the images, by name.
        client: sends the requests.
        skeleton: of the labelling interface.
        log: records every request.
        tasks: numbers of tasks, each used once.
    """

    images: Mapping[str, tuple[int, int]]
    client: httpx.AsyncClient
    skeleton: Skeleton
    log: Log
    tasks: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def working(self, size: int, *, every_s: float, first: int = 0, drags: bool = True) -> AsyncIterator[None]:
        """Let annotators work on one task after the other until the block ends.

        Args:
            size: number of annotators.
            every_s: mean seconds between two clicks of an annotator.
            first: number of the first annotator; nobody else may have these numbers.
            drags: every fourth annotator drags points instead of clicking.
        """
        annotators = [
            LoadAnnotator(
                number, self.client, self.skeleton, self.log, every_s=every_s, drags=drags and number % 4 == 0
            )
            for number in range(first, first + size)
        ]
        async with asyncio.TaskGroup() as group:
            for annotator in annotators:
                group.create_task(self._work(annotator))
            try:
                yield
            finally:
                for annotator in annotators:
                    annotator.stop.set()

    async def _work(self, annotator: LoadAnnotator) -> None:
        names = list(self.images)
        await asyncio.sleep(arrival_s(annotator.every_s) * float(annotator.rng.random()))
        while not annotator.stop.is_set():
            task = next(self.tasks)
            name, clicks = names[task % len(names)], int(annotator.rng.integers(*CLICKS_PER_TASK))
            await annotator.annotate(task, name, self.images[name], clicks)
