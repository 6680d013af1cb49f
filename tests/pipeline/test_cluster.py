"""Which Ray is used: one that runs already, one that is named, or our own; and a dead one is said in one sentence."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

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


def test_addresses_of_both_kinds_are_tried(dead: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        alive = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(alive) and answers(f"ray://{alive}")
    assert not answers(dead) and not answers(f"ray://{dead}") and not answers("nowhere.invalid:6379")


def test_a_ray_that_was_started_here_and_is_gone_is_passed_over(
    dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert started_here() is None
    (tmp_path / cluster.ADDRESS_FILE).parent.mkdir()
    (tmp_path / cluster.ADDRESS_FILE).write_text(dead)
    assert started_here() is None


SEEN = """
import ray
from pipeline.cluster import connect, free_workers, has_gpu
connect()
print("nodes", len(ray.nodes()), "gpu", has_gpu(), "workers", free_workers())
{further}
"""

START_GPU_NODE = """
@ray.remote(num_gpus=1)
def ask():
    return "a GPU node came"
print(ray.get(ask.remote(), timeout=120))
"""


def seen(further: str = "", **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SEEN.format(further=further)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def autoscaling(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of one node without GPUs, whose autoscaler may start one that has one (it only says so)."""
    from ray.cluster_utils import AutoscalingCluster

    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # of its own, and short, as it holds sockets
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    node = {"CPU": 2, "GPU": 1, "object_store_memory": 100 * 2**20}
    types = {"gpu": {"resources": node, "node_config": {}, "min_workers": 0, "max_workers": 1}}
    started = AutoscalingCluster(head_resources={"CPU": 2}, worker_node_types=types, idle_timeout_minutes=5)
    started.start()
    yield
    started.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.cluster
def test_a_running_ray_is_joined_and_a_gpu_that_may_come_is_asked_for(autoscaling: None) -> None:
    told = seen(START_GPU_NODE)
    assert "nodes 1 gpu True workers 1" in told
    assert "a GPU node came" in told
