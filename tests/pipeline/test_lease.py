"""One writer at a time: the second is told who the first is, and a writer that died blocks no other."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clickpose.errors import StoreInUse
from pipeline import lease as leases
from pipeline.lease import LEASE, lease
from pipeline.store import Store


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(leases, "SETTLE_S", 0.1)
    return Store(tmp_path / "root" if request.param == "local" else "mock:///bucket/root")


def pretend(store: Store, **changes: object) -> None:
    """Change what the lease says."""
    store.write_json(LEASE, {**store.read_json(LEASE), **changes})


def test_the_second_is_told_who_holds_it_and_since_when(store: Store) -> None:
    with lease(store, "retraining"):
        since = store.read_json(LEASE)["since"]
        with pytest.raises(StoreInUse) as refusal, lease(store, "promoting"):
            pytest.fail("two writers at once")
        assert f"process {os.getpid()} on " in str(refusal.value)
        assert f"retraining since {since}" in str(refusal.value)


def test_it_is_free_again_afterwards(store: Store) -> None:
    with lease(store, "retraining"):
        pass
    with pytest.raises(ValueError, match="in the middle"), lease(store, "retraining"):
        raise ValueError("in the middle")
    with lease(store, "retraining"):
        pass
    assert not store.exists(LEASE)


def test_a_holder_on_another_machine_that_stopped_renewing_is_replaced(store: Store) -> None:
    with lease(store, "retraining") as check:
        pretend(store, host="elsewhere", token="theirs")
        with pytest.raises(StoreInUse, match="elsewhere"), lease(store, "promoting"):
            pytest.fail("two writers at once")
        pretend(store, beat_at=time.time() - leases.EXPIRES_S - 1)
        with lease(store, "promoting"), pytest.raises(StoreInUse, match="promoting"):
            check()


def test_it_is_renewed_as_long_as_it_is_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.05)
    with lease(store, "retraining"):
        first = store.read_json(LEASE)["beat_at"]
        time.sleep(0.5)
        assert store.read_json(LEASE)["beat_at"] > first


def test_a_process_that_was_killed_blocks_no_other(tmp_path: Path) -> None:
    program = f"""
import os
from pipeline.lease import lease
from pipeline.store import Store
with lease(Store({str(tmp_path)!r}), "retraining"):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode == -9
    assert json.loads((tmp_path / LEASE).read_text())["task"] == "retraining"
    with lease(Store(tmp_path), "retraining"):
        pass


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    store, got, refused = Store(tmp_path), [], []
    begin, end = threading.Barrier(8), threading.Barrier(8)

    def want() -> None:
        begin.wait()
        try:
            with lease(store, "retraining"):
                got.append(1)
                end.wait()
        except StoreInUse:
            refused.append(1)
            end.wait()

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)


def test_the_command_line_exits_with_75(tmp_path: Path) -> None:
    with lease(Store(tmp_path), "retraining"):
        words = [sys.executable, "-m", "clickpose", "models", "promote", "v0001-00000000", "--store", str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 75
    assert "retraining since" in done.stderr
