"""Which Ray is used: one that runs already, one that is named, or our own; and a dead one is said in one sentence."""

import os
import queue
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from clickpose.errors import ClickPoseError
from pipeline import cluster, lost_cluster
from pipeline.cluster import answers, connect, started_here
from pipeline.lost_cluster import end_when_gone

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting longer for what never answers would show nothing more."""
    monkeypatch.setattr(cluster, "ANSWER_S", 0.3)


@pytest.fixture
def dead() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_a_dead_address_is_said_in_one_sentence(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", dead)
    with pytest.raises(ClickPoseError, match=f"no Ray cluster answers at {dead}"):
        connect()


def test_addresses_of_both_kinds_are_tried(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    alive = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with monkeypatch.context() as patient:
        patient.setattr(cluster, "ANSWER_S", 10.0)
        assert answers(alive) and answers(f"ray://{alive}")
    server.stop(None).wait()
    assert not answers(alive) and not answers(f"ray://{dead}") and not answers("nowhere.invalid:6379")


def test_what_listens_and_is_no_cluster_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert not answers(address) and not answers(f"ray://{address}")


def test_a_ray_that_was_started_here_and_is_gone_is_passed_over(
    dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert started_here() is None
    (tmp_path / cluster.ADDRESS_FILE).parent.mkdir()
    (tmp_path / cluster.ADDRESS_FILE).write_text(dead)
    assert started_here() is None


def test_a_cluster_that_dies_ends_the_process_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = queue.Queue[int]()
    monkeypatch.setattr(cluster, "ANSWER_S", 0.5)
    monkeypatch.setattr(lost_cluster, "CHECK_S", 0.1)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("os._exit", ended.put)
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    end_when_gone(address, answers)
    with pytest.raises(queue.Empty):
        ended.get(timeout=1)
    server.stop(None)
    assert ended.get(timeout=20) == os.EX_UNAVAILABLE
    said = capsys.readouterr().err
    assert said == f"clickpose: the Ray cluster at {address} is gone: run the same command again to resume\n"


def test_nothing_ends_a_process_that_has_left_its_cluster(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = queue.Queue[int]()
    monkeypatch.setattr(lost_cluster, "CHECK_S", 0.1)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("os._exit", ended.put)
    end_when_gone(dead, lambda address: False)
    with pytest.raises(queue.Empty):
        ended.get(timeout=1)


LEAVE_WITH_HANGING_AGENTS = """
import os, signal
import ray, psutil
from pipeline import cluster
cluster.GRACE_S = 1.0  # which an agent that hangs uses up
cluster.connect()
[raylet] = [child for child in psutil.Process().children() if child.name() == "raylet"]
agents = raylet.children()
for agent in agents:
    os.kill(agent.pid, signal.SIGSTOP)
print(raylet.pid, *[agent.pid for agent in agents], flush=True)
cluster.disconnect()
"""


@pytest.mark.cluster
def test_a_ray_of_our_own_is_gone_after_leaving_it_also_if_its_agents_hang() -> None:
    settings = {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": ""}
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_WITH_HANGING_AGENTS],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0
    started = done.stdout.split()
    assert len(started) > 2
    assert [pid for pid in started if Path("/proc", pid).exists()] == []
