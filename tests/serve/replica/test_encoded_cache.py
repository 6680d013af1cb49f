"""The cache of encoded images, and the locks of sessions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from serve.replica.encoded_cache import EncodedCache
from serve.sessions.locks import SessionLocks


@dataclass(frozen=True)
class Value:
    num_bytes: int


async def value(num_bytes: int = 10) -> Value:
    await asyncio.sleep(0)
    return Value(num_bytes)


def test_concurrent_requests_compute_a_value_once() -> None:
    async def story() -> None:
        cache: EncodedCache[Value] = EncodedCache(100)
        answers = await asyncio.gather(*(cache.get(("a", "v1"), value) for _ in range(5)))
        assert all(answer is answers[0] for answer in answers)
        assert (cache.hits, cache.misses) == (4, 1)

    asyncio.run(story())


def test_the_least_recently_used_value_is_evicted_first() -> None:
    async def story() -> None:
        cache: EncodedCache[Value] = EncodedCache(25)
        for name in "abac":
            await cache.get((name, "v1"), value)
        assert (len(cache), cache.num_bytes) == (2, 20)
        for name in "ac":
            await cache.get((name, "v1"), value)
        assert cache.misses == 3

    asyncio.run(story())


def test_a_value_larger_than_the_cache_is_kept_until_the_next() -> None:
    async def story() -> None:
        cache: EncodedCache[Value] = EncodedCache(5)
        assert (await cache.get(("a", "v1"), value)).num_bytes == 10
        await cache.get(("b", "v1"), value)
        assert len(cache) == 1

    asyncio.run(story())


def test_failures_are_not_cached() -> None:
    async def fail() -> Value:
        raise OSError("no")

    async def story() -> None:
        cache: EncodedCache[Value] = EncodedCache(100)
        with pytest.raises(OSError):
            await cache.get(("a", "v1"), fail)
        assert await cache.get(("a", "v1"), value)

    asyncio.run(story())


def test_a_client_that_disconnects_does_not_cancel_the_work() -> None:
    async def story() -> None:
        cache: EncodedCache[Value] = EncodedCache(100)
        impatient = asyncio.create_task(cache.get(("a", "v1"), value))
        patient = asyncio.create_task(cache.get(("a", "v1"), value))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).num_bytes == 10
        assert cache.misses == 1

    asyncio.run(story())


def test_values_of_an_old_model_are_removed() -> None:
    async def story() -> None:
        cache: EncodedCache[Value] = EncodedCache(100)
        for version in ("v1", "v2"):
            await cache.get(("a", version), value)
        cache.keep_only("v2")
        assert len(cache) == 1

    asyncio.run(story())


def test_edits_of_one_session_run_one_after_the_other() -> None:
    events: list[tuple[str, bool]] = []

    async def edit(locks: SessionLocks, session: str) -> None:
        async with locks.take(session) as overlaps:
            events.append((session, overlaps))
            await asyncio.sleep(0.01)
            events.append((f"{session} done", overlaps))

    async def story() -> None:
        locks = SessionLocks()
        await asyncio.gather(edit(locks, "ann"), edit(locks, "ann"), edit(locks, "bob"))
        await edit(locks, "ann")

    asyncio.run(story())
    anns = [event for event in events if event[0].startswith("ann")]
    assert anns == [
        ("ann", False), ("ann done", False), ("ann", True), ("ann done", True), ("ann", False), ("ann done", False)
    ]  # fmt: skip
    assert ("bob", False) in events
