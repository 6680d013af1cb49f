"""Encoded pictures, the costliest thing a replica makes: made once, shared, and forgotten when memory runs short."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeAlias, TypeVar

Key: TypeAlias = tuple[str, str]


class Sized(Protocol):
    """A value that knows how much memory it keeps."""

    @property
    def num_bytes(self) -> int:
        """Memory it keeps."""
        ...


T = TypeVar("T", bound=Sized)


class EncodedCache(Generic[T]):
    """Values by (image, model version); the least recently used one is forgotten first.

    Requests that ask for the same value at the same time wait for the same work. A failure is not remembered.

    Args:
        max_bytes: memory that all values may keep together; the latest one always stays.

    Attributes:
        hits: requests that found their value, or found it in the making.
        misses: requests that had to make it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._tasks: OrderedDict[Key, asyncio.Task[T]] = OrderedDict()

    def __len__(self) -> int:
        """Number of values held or in the making."""
        return len(self._tasks)

    def __contains__(self, key: Key) -> bool:
        """Tell whether a value is held or in the making."""
        return key in self._tasks

    @property
    def num_bytes(self) -> int:
        """Memory that the values keep."""
        return sum(task.result().num_bytes for task in self._tasks.values() if _is_made(task))

    async def get(self, key: Key, make: Callable[[], Awaitable[T]]) -> T:
        """Return the value of a key, made now unless it is at hand."""
        task = self._tasks.get(key)
        if task is None:
            self.misses += 1
            task = self._tasks[key] = asyncio.ensure_future(_run(make))
            task.add_done_callback(lambda done: self._settle(key, done))
        else:
            self.hits += 1
            self._tasks.move_to_end(key)
        return await asyncio.shield(task)  # a client that goes away must not take the others' value along

    def keep_only(self, version: str) -> None:
        """Forget what was encoded by any other model version."""
        for key in [key for key in self._tasks if key[1] != version]:
            del self._tasks[key]

    def _settle(self, key: Key, task: asyncio.Task[T]) -> None:
        """Forget a failure; make room for a value."""
        if not _is_made(task):
            if self._tasks.get(key) is task:
                del self._tasks[key]
            return
        oldest_first = [key for key, known in self._tasks.items() if _is_made(known) and known is not task]
        for key in oldest_first:
            if self.num_bytes <= self.max_bytes:
                return
            del self._tasks[key]


def _is_made(task: asyncio.Task[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
