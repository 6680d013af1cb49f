"""The story: a day's work in some minutes, with everything that can go wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from benchmarks.serve_load.annotator import LoadAnnotator
from benchmarks.serve_load.flood import flood
from benchmarks.serve_load.records import CLICKS, Log, failed, percentile_ms
from benchmarks.serve_load.stand import Stand
from clickpose.skeleton import Skeleton

CLICKS_A_TASK = (6, 14)
FLOOD_FACTOR = 10
NORMAL_WINDOW_S = 2.0
RECOVERY_LIMIT_S = 60.0

ENDURING = 4  # annotators who do not pause keep the replicas busy

Tell = Callable[[str], None]  # told what is going on


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        annotators: at work at the same time, one click a second each.
        seconds: of work, with a fault in each fifth.
        flood_seconds: of ten times as many requests.
        endurance_clicks: clicks in all, from the start, over which memory is watched.
    """

    annotators: int = 20
    seconds: float = 180.0
    flood_seconds: float = 15.0
    endurance_clicks: int = 10_000


@dataclass
class LoadRecord:
    """What happened, beside the requests.

    Attributes:
        log: every request.
        marks: when each phase began, in seconds since the start.
        memory: resident memory in MiB by replica: (clicks so far, MiB).
        recovered_s: seconds from the end of the flood until answers were as fast as before it.
        impolite: requests turned away without being told when to come back.
    """

    log: Log = field(default_factory=Log)
    marks: dict[str, float] = field(default_factory=dict)
    memory: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    recovered_s: float | None = None
    impolite: int = 0

    def begin(self, phase: str) -> None:
        """Note that a phase begins."""
        self.marks[phase] = round(self.log.now(), 2)

    def clicks(self) -> int:
        """Return the number of clicks answered so far."""
        return sum(request.outcome == "ok" for request in self.log.of(CLICKS))


async def play(stand: Stand, skeleton: Skeleton, plan: Plan, tell: Tell) -> LoadRecord:
    """Play the story."""
    story, tasks = LoadRecord(), itertools.count(1)
    async with stand.client() as client:
        watcher = asyncio.create_task(_watch(stand, story))
        team = [
            LoadAnnotator(number, client, skeleton, story.log, every_s=1.0, drags=number % 4 == 0)
            for number in range(plan.annotators)
        ]
        async with _working(team, stand.pictures, tasks):
            await _hurt(stand, story, plan, tell)
            await _flood(client, stand, story, plan, tell)
        await _endure(client, skeleton, stand, story, plan, tasks, tell)
        story.begin("end")
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    return story


@asynccontextmanager
async def _working(
    team: Sequence[LoadAnnotator], pictures: Mapping[str, tuple[int, int]], tasks: Iterator[int]
) -> AsyncIterator[None]:
    """Let a team annotate one task after the other until the block ends."""
    names = list(pictures)

    async def work(annotator: LoadAnnotator) -> None:
        await asyncio.sleep(annotator.every_s * float(annotator.rng.random()))  # nobody clicks in step
        while not annotator.home.is_set():
            task = next(tasks)
            name, clicks = names[task % len(names)], int(annotator.rng.integers(*CLICKS_A_TASK))
            await annotator.annotate(task, name, pictures[name], clicks)

    async with asyncio.TaskGroup() as group:
        for annotator in team:
            group.create_task(work(annotator))
        try:
            yield
        finally:
            for annotator in team:
                annotator.home.set()


async def _hurt(stand: Stand, story: LoadRecord, plan: Plan, tell: Tell) -> None:
    """Do something to the service four times while everybody works."""
    faults = (
        ("a replica is killed", stand.kill_replica),
        ("the model is swapped", stand.swap),
        ("the controller is killed", stand.kill_controller),
        ("the model is swapped again", stand.swap),
    )
    story.begin("work")
    for name, do in faults:
        await asyncio.sleep(plan.seconds / (len(faults) + 1))
        tell(name)
        await asyncio.to_thread(story.log.fault, name, do)
    await asyncio.sleep(plan.seconds / (len(faults) + 1))


async def _flood(client: httpx.AsyncClient, stand: Stand, story: LoadRecord, plan: Plan, tell: Tell) -> None:
    """Send ten times the requests for some seconds, and see how long it takes until all is as before."""
    usual_ms = percentile_ms(story.log.of(CLICKS), 95)
    tell(f"{FLOOD_FACTOR} times the requests")
    story.begin("flood")
    rate, pictures = FLOOD_FACTOR * plan.annotators, list(stand.pictures)[: plan.annotators]
    story.impolite = await flood(client, pictures, story.log, a_second=rate, seconds=plan.flood_seconds)
    tell("recovery")
    story.begin("recovery")
    ended_s = story.log.now()
    while story.recovered_s is None and story.log.now() < ended_s + RECOVERY_LIMIT_S:
        await asyncio.sleep(0.25)
        now_s = story.log.now()
        latest = story.log.of(CLICKS, since_s=max(ended_s, now_s - NORMAL_WINDOW_S))
        if len(latest) >= plan.annotators and not failed(latest) and percentile_ms(latest, 95) <= 2 * usual_ms:
            story.recovered_s = round(min(request.at_s for request in latest) - ended_s, 2)


async def _endure(
    client: httpx.AsyncClient,
    skeleton: Skeleton,
    stand: Stand,
    story: LoadRecord,
    plan: Plan,
    tasks: Iterator[int],
    tell: Tell,
) -> None:
    """Click without a pause until there were enough clicks to tell whether memory grows."""
    if story.clicks() >= plan.endurance_clicks:
        return
    tell("endurance")
    story.begin("endurance")
    team = [
        LoadAnnotator(1000 + number, client, skeleton, story.log, every_s=0.0, drags=False)
        for number in range(ENDURING)
    ]
    async with _working(team, stand.pictures, tasks):
        while story.clicks() < plan.endurance_clicks:
            await asyncio.sleep(0.5)


async def _watch(stand: Stand, story: LoadRecord) -> None:
    """Look at the replicas every second."""
    while True:
        with suppress(httpx.HTTPError):
            for replica in await asyncio.to_thread(stand.replicas):
                name = replica["replica"]
                story.memory.setdefault(name, []).append((story.clicks(), replica["memory_bytes"] / 2**20))
        await asyncio.sleep(1.0)
