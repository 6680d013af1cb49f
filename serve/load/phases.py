"""The phases of the load test: a day's work in some minutes, with everything that can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from clickpose.skeleton import Skeleton
from serve.load.flood import flood
from serve.load.records import CLICKS, Log, failed, percentile_ms
from serve.load.team import Team, arrival_s

FLOOD_FACTOR = 10
NORMAL_WINDOW = 2.0  # pauses between two clicks
QUICK_MS = 100.0  # no annotator notices less
RECOVERY_LIMIT_S = 60.0

ENDURING = 4  # annotators who do not pause keep the replicas busy

Tell = Callable[[str], None]  # receives progress messages


class Stand(Protocol):
    """The service under test, and the faults it is exposed to.

    Attributes:
        images: sizes of the images it can read, by name.
    """

    @property
    def images(self) -> Mapping[str, tuple[int, int]]: ...  # noqa: D102

    def client(self) -> httpx.AsyncClient:
        """Return a client that sends any number of requests at once."""
        ...

    def replicas(self) -> list[dict[str, Any]]:
        """Return the status of each replica."""
        ...

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor seconds that each part of the service has used so far."""
        ...

    def kill_replica(self) -> None:
        """Kill the process of one replica."""
        ...

    def kill_ingress(self) -> None:
        """Kill the process of one ingress."""
        ...

    def kill_controller(self) -> None:
        """Kill Serve's controller, which starts and watches all others."""
        ...

    def swap(self) -> None:
        """Promote another model."""
        ...


@dataclass(frozen=True)
class Plan:
    """The sizes of all phases.

    Attributes:
        annotators: at work at the same time.
        every_s: mean seconds between two clicks of an annotator.
        seconds: of undisturbed work.
        fault_seconds: of work with faults at regular intervals; 0 leaves them out.
        flood_seconds: of ten times as many requests; 0 leaves them out.
        endurance_clicks: clicks in all, from the start, over which memory is watched.
    """

    annotators: int = 20
    every_s: float = 1.0
    seconds: float = 60.0
    fault_seconds: float = 120.0
    flood_seconds: float = 15.0
    endurance_clicks: int = 10_000


@dataclass
class LoadRecord:
    """What happened during the load test.

    Attributes:
        log: every request.
        marks: when each phase began, in seconds since the start.
        memory: resident memory in MiB by replica: (clicks so far, MiB).
        encoded: by replica, requests whose image was encoded already, and requests whose image was not.
        cpu_s: processor seconds of the service during the first phase, by part.
        recovered_s: seconds from the end of the flood until answers took at most twice as long as before it.
        without_retry_after: requests rejected without a Retry-After header.
    """

    log: Log = field(default_factory=Log)
    marks: dict[str, float] = field(default_factory=dict)
    memory: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    encoded: dict[str, tuple[int, int]] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    recovered_s: float | None = None
    without_retry_after: int = 0

    def begin(self, phase: str) -> None:
        """Record the start of a phase."""
        self.marks[phase] = round(self.log.now(), 2)

    def clicks(self) -> int:
        """Return the number of clicks answered so far."""
        return sum(request.outcome == "ok" for request in self.log.of(CLICKS))


async def play(stand: Stand, skeleton: Skeleton, plan: Plan, tell: Tell) -> LoadRecord:
    """Run all phases."""
    async with stand.client() as client:
        test = LoadTest(stand, skeleton, plan, tell, client)
        watcher = asyncio.create_task(test.watch())
        async with test.team.working(plan.annotators, every_s=plan.every_s):
            await test.work()
            await test.inject_faults()
            await test.flood()
        await test.endure()
        test.record.begin("end")
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    return test.record


@dataclass
class LoadTest:
    """The phases; each writes to ``record``.

    Attributes:
        stand: the service under test.
        skeleton: of the labelling interface.
        plan: sizes of all phases.
        tell: receives a line about each phase.
        client: sends the requests.
        record: what happened.
    """

    stand: Stand
    skeleton: Skeleton
    plan: Plan
    tell: Tell
    client: httpx.AsyncClient
    record: LoadRecord = field(default_factory=LoadRecord)

    def __post_init__(self) -> None:
        self.team = Team(self.stand.images, self.client, self.skeleton, self.record.log)

    async def work(self) -> None:
        """Wait until all annotators have started; let them work undisturbed, and measure what that costs."""
        await asyncio.sleep(arrival_s(self.plan.every_s))
        self.record.begin("work")
        before = self.stand.cpu_seconds()
        await asyncio.sleep(self.plan.seconds)
        after = self.stand.cpu_seconds()
        self.record.cpu_s = {part: round(after[part] - before[part], 2) for part in before}

    async def inject_faults(self) -> None:
        """Disturb the service while all annotators work."""
        if not self.plan.fault_seconds:
            return
        faults = (
            ("a replica is killed", self.stand.kill_replica),
            ("the model is swapped", self.stand.swap),
            ("an ingress is killed", self.stand.kill_ingress),
            ("the controller is killed", self.stand.kill_controller),
            ("the model is swapped again", self.stand.swap),
        )
        self.record.begin("faults")
        for name, do in faults:
            await asyncio.sleep(self.plan.fault_seconds / (len(faults) + 1))
            self.tell(name)
            await asyncio.to_thread(self.record.log.fault, name, do)
        await asyncio.sleep(self.plan.fault_seconds / (len(faults) + 1))

    async def flood(self) -> None:
        """Send ten times the requests for some seconds, and measure how long the service takes to recover."""
        record, annotators = self.record, self.plan.annotators
        per_second = FLOOD_FACTOR * annotators / self.plan.every_s
        limit_ms = max(2 * percentile_ms(record.log.of(CLICKS), 95), QUICK_MS)
        record.begin("flood")
        if not self.plan.flood_seconds:
            record.begin("recovery")
            return
        self.tell(f"{FLOOD_FACTOR} times the requests")
        images = list(self.stand.images)[:annotators]
        record.without_retry_after = await flood(
            self.client, images, record.log, per_second=per_second, seconds=self.plan.flood_seconds
        )
        self.tell("recovery")
        record.begin("recovery")
        ended_s, window_s = record.log.now(), NORMAL_WINDOW * self.plan.every_s
        while record.recovered_s is None and record.log.now() < ended_s + RECOVERY_LIMIT_S:
            await asyncio.sleep(0.25)
            latest = record.log.of(CLICKS, since_s=max(ended_s, record.log.now() - window_s))
            if len(latest) >= annotators and not failed(latest) and percentile_ms(latest, 95) <= limit_ms:
                record.recovered_s = round(min(request.at_s for request in latest) - ended_s, 2)

    async def endure(self) -> None:
        """Click without a pause until there are enough clicks to see whether memory grows."""
        if self.record.clicks() >= self.plan.endurance_clicks:
            return
        self.tell("endurance")
        self.record.begin("endurance")
        async with self.team.working(ENDURING, every_s=0.0, first=1000, drags=False):
            while self.record.clicks() < self.plan.endurance_clicks:
                await asyncio.sleep(0.5)

    async def watch(self) -> None:
        """Record the memory and the cache of the replicas every second."""
        while True:
            with suppress(httpx.HTTPError):
                for replica in await asyncio.to_thread(self.stand.replicas):
                    name = replica["replica"]
                    sample = (self.record.clicks(), replica["memory_bytes"] / 2**20)
                    self.record.memory.setdefault(name, []).append(sample)
                    self.record.encoded[name] = (replica["cache_hits"], replica["cache_misses"])
            await asyncio.sleep(1.0)
