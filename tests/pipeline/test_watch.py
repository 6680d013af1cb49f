"""Rounds without anybody watching: errors do not end them, and a wake-up call is heard."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace

import httpx
import pytest

from clickpose.errors import InvalidConfig, LabelStudioError, StoreInUse
from pipeline.watch import Schedule, wake_up_calls, watch

NOTHING_NEW, TRAINED = SimpleNamespace(challenger=None), SimpleNamespace(challenger="v2")


def play(*outcomes: object) -> tuple[Callable[[bool], object], list[bool]]:
    """A round that does one thing after another, and a list of whether it was due each time."""
    remaining, due = iter(outcomes), []

    def run_round(is_due: bool) -> object:
        due.append(is_due)
        outcome = next(remaining)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return run_round, due


def schedule(**changes: float) -> Schedule:
    return Schedule(**{"every_s": 60.0, "check_s": 0.01, "settle_s": 0.01, "retry_s": 0.01, **changes})


@pytest.mark.parametrize(
    "error", [LabelStudioError("no answer"), StoreInUse("busy"), OSError("disk full"), KeyError(7)]
)
def test_every_error_is_outlived_and_told(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    run_round, _ = play(error, error, TRAINED)
    with caplog.at_level(logging.ERROR):
        assert next(watch(run_round, schedule())) is TRAINED
    assert len(caplog.messages) == 2
    assert type(error).__name__ in caplog.text
    assert "trying again at 20" in caplog.text


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(1)])
def test_ctrl_c_is_not(end: BaseException) -> None:
    run_round, _ = play(TRAINED, end)
    with pytest.raises(type(end)):
        list(watch(run_round, schedule()))


def test_waits_grow_while_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    run_round, _ = play(*[OSError()] * 3, TRAINED)
    began = time.monotonic()
    next(watch(run_round, schedule(retry_s=0.1)))
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4


def test_the_first_look_is_due_and_then_only_when_the_time_has_come() -> None:
    run_round, due = play(NOTHING_NEW, NOTHING_NEW, NOTHING_NEW, NOTHING_NEW)
    list(islice(watch(run_round, schedule(every_s=0.3, check_s=0.2)), 3))
    assert due == [True, False, True]


def test_a_round_that_trained_puts_the_next_one_off() -> None:
    run_round, due = play(NOTHING_NEW, TRAINED, NOTHING_NEW)
    list(islice(watch(run_round, schedule(every_s=0.3, check_s=0.2)), 3))
    assert due == [True, False, False]


@pytest.fixture
def calls() -> Iterator[tuple[threading.Event, str]]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with wake_up_calls(address) as called:
        yield called, address


def test_a_wake_up_call_is_heard_at_once(calls: tuple[threading.Event, str]) -> None:
    called, address = calls
    run_round, _ = play(NOTHING_NEW, TRAINED)
    reports = watch(run_round, schedule(check_s=60.0), called)
    assert next(reports) is NOTHING_NEW
    assert httpx.post(f"http://{address}/", json={"action": "ANNOTATION_CREATED"}, trust_env=False).status_code == 204
    began = time.monotonic()
    assert next(reports) is TRAINED
    assert time.monotonic() - began < 5
    assert not called.is_set()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "taken"])
def test_an_address_that_cannot_be_listened_on_is_named(calls: tuple[threading.Event, str], address: str) -> None:
    address = calls[1] if address == "taken" else address
    with pytest.raises(InvalidConfig, match=address), wake_up_calls(address):
        pytest.fail("there is nothing to listen on")


def test_a_schedule_without_waits_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="every_s"):
        Schedule(every_s=0.0)
