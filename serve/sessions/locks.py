"""Locks that make edits of one session run one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class SessionLocks:
    """A lock per session, which exists while it is held or waited for."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, session: str) -> AsyncIterator[bool]:
        """Wait for earlier edits of the session; yield whether there were any.

        If so, this edit was made before the browser received their answers.
        """
        lock = self._locks.get(session)
        overlaps = lock is not None
        lock = lock or asyncio.Lock()
        self._locks[session] = lock
        async with lock:
            yield overlaps
