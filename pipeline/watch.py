"""Unattended rounds: when they run, and what happens when one fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from clickpose.errors import ClickPoseError, InvalidConfig

if TYPE_CHECKING:
    from pipeline.round_report import RoundReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """When a round runs.

    Attributes:
        every_s: interval after which a round runs with whatever is new.
        check_s: interval at which annotations are checked: a round runs if enough is new.
        settle_s: pause after a wake-up call, such as a webhook, in which further calls are collected.
        retry_s: pause after a failure; doubled after each further one, up to ``every_s``.

    Raises:
        InvalidConfig: a time is not above 0.
    """

    every_s: float
    check_s: float = 600.0
    settle_s: float = 10.0
    retry_s: float = 60.0

    def __post_init__(self) -> None:
        """Check the times."""
        for name in ("every_s", "check_s", "settle_s", "retry_s"):
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be above 0")


def watch(
    run_round: Callable[[bool], RoundReport], schedule: Schedule, wake: threading.Event | None = None
) -> Iterator[RoundReport]:
    """Run rounds on schedule and yield their reports; this never ends by itself.

    A failure is logged with the time of the next try.

    Args:
        run_round: runs a round; its argument says whether ``every_s`` has passed, so that any new image is enough.
        schedule: when.
        wake: event that is set when there are new annotations.
    """
    wake = wake or threading.Event()
    due, wait_s, retry_s = time.monotonic(), 0.0, schedule.retry_s
    while True:
        if wake.wait(wait_s):
            time.sleep(schedule.settle_s)
            wake.clear()
        try:
            report = run_round(time.monotonic() >= due)
        except Exception as error:
            wait_s, retry_s = retry_s, min(2 * retry_s, max(schedule.every_s, schedule.retry_s))
            _log(error, wait_s)
            continue
        if report.challenger is not None or time.monotonic() >= due:
            due = time.monotonic() + schedule.every_s
        wait_s, retry_s = max(0.0, min(schedule.check_s, due - time.monotonic())), schedule.retry_s
        yield report


@contextmanager
def wake_up_calls(address: str) -> Iterator[threading.Event]:
    """Listen on ``HOST:PORT``; yield an event that any POST sets, for example a webhook that the service forwards.

    Raises:
        InvalidConfig: the address is malformed or in use.
    """
    host, _, port = address.rpartition(":")
    called = threading.Event()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            called.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing: the round that follows is logged."""

    try:
        server = ThreadingHTTPServer((host or "127.0.0.1", int(port)), Listener)
    except (OSError, ValueError, OverflowError) as error:
        raise InvalidConfig(f"cannot listen on {address!r}, which must be HOST:PORT: {error}") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield called
    finally:
        server.shutdown()
        server.server_close()


def _log(error: Exception, wait_s: float) -> None:
    again = datetime.now() + timedelta(seconds=wait_s)
    unforeseen = not isinstance(error, ClickPoseError)
    sentence = "the round failed (%s: %s); trying again at %s"
    logger.error(sentence, type(error).__name__, error, f"{again:%Y-%m-%d %H:%M:%S}", exc_info=unforeseen)
