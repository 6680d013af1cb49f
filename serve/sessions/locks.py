"""Edits of one session, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class SessionLocks:
    """A lock for each session, kept as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, session: str) -> AsyncIterator[bool]:
        """Wait for the session's earlier edits; yield whether there was one to wait for.

        If there was, this edit was made before the browser knew the earlier one's answer.
        """
        lock = self._locks.get(session)
        overlaps = lock is not None
        lock = lock or asyncio.Lock()
        self._locks[session] = lock
        async with lock:
            yield overlaps
