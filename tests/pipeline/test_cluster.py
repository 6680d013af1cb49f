"""Which Ray is used: one that runs already, one that is named, or our own; and a dead one is said in one sentence."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from clickpose.errors import ClickPoseError
from pipeline import cluster
from pipeline.cluster import answers, connect, started_here

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dead() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_a_dead_address_is_said_in_one_sentence_and_soon(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", dead)
    began = time.monotonic()
    with pytest.raises(ClickPoseError, match=f"no Ray cluster answers at {dead}"):
        connect()
    assert time.monotonic() - began < 30


def test_addresses_of_both_kinds_are_tried(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 1.0)
    server = grpc.server(ThreadPoolExecutor(1))
    alive = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    assert answers(alive) and answers(f"ray://{alive}")
    server.stop(None).wait()
    assert not answers(alive) and not answers(f"ray://{dead}") and not answers("nowhere.invalid:6379")


def test_what_listens_and_is_no_cluster_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 1.0)
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
