"""Cache of encoded images, the most expensive step: encoded once, shared, and evicted when memory runs short."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeAlias, TypeVar

Key: TypeAlias = tuple[str, str]


class Sized(Protocol):
    """A value that knows its size."""

    @property
    def num_bytes(self) -> int:
        """Memory in bytes."""
        ...


T = TypeVar("T", bound=Sized)


class EncodedCache(Generic[T]):
    """Values by (image, model version); the least recently used one is evicted first.

    Concurrent requests for the same value share the work. Failures are not cached.

    Args:
        max_bytes: maximum memory of all values together; the newest one always stays.

    Attributes:
        hits: requests whose value existed or was being computed.
        misses: requests whose value had to be computed.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._tasks: OrderedDict[Key, asyncio.Task[T]] = OrderedDict()

    def __len__(self) -> int:
        """Number of values, including those being computed."""
        return len(self._tasks)

    def __contains__(self, key: Key) -> bool:
        """Return whether a value exists or is being computed."""
        return key in self._tasks

    def images(self) -> set[str]:
        """Return the images that are encoded, or being encoded."""
        return {image for image, _ in self._tasks}

    @property
    def num_bytes(self) -> int:
        """Memory of all values in bytes."""
        return sum(task.result().num_bytes for task in self._tasks.values() if _is_computed(task))

    async def get(self, key: Key, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value of a key; compute it if necessary."""
        task = self._tasks.get(key)
        if task is None:
            self.misses += 1
            task = self._tasks[key] = asyncio.ensure_future(_run(make))
            task.add_done_callback(lambda done: self._settle(key, done))
        else:
            self.hits += 1
            self._tasks.move_to_end(key)
        return await asyncio.shield(task)  # a client that disconnects must not cancel the work that others wait for

    def keep_only(self, version: str) -> None:
        """Remove values of all other model versions."""
        for key in [key for key in self._tasks if key[1] != version]:
            del self._tasks[key]

    def _settle(self, key: Key, task: asyncio.Task[T]) -> None:
        """Remove a failed task; evict old values to make room for a new one."""
        if not _is_computed(task):
            if self._tasks.get(key) is task:
                del self._tasks[key]
            return
        oldest_first = [key for key, known in self._tasks.items() if _is_computed(known) and known is not task]
        for key in oldest_first:
            if self.num_bytes <= self.max_bytes:
                return
            del self._tasks[key]


def _is_computed(task: asyncio.Task[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
