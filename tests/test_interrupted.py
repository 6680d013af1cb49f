"""A command that is interrupted while it labels stops everything it has started, before it ends itself."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integrations.label_studio.server import free_port

REPOSITORY = Path(__file__).parents[1]
PICTURES = REPOSITORY / "examples" / "pictures" / "images"
STOP_LIMIT_S = 120  # far more than it takes, for a machine that does other things, too

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find what is left"),
]


def demo(folder: Path) -> list[str]:
    return ["demo", "--limit", "4", "--no-stay", "--out", str(folder)]


def annotate(folder: Path) -> list[str]:
    return ["annotate", str(PICTURES), "--no-browser", "--data", str(folder / "data")]


@pytest.mark.parametrize("command, ending, status", [(demo, signal.SIGINT, 130), (annotate, signal.SIGTERM, 0)])
def test_an_interrupted_command_leaves_nothing_running(
    command, ending: signal.Signals, status: int, tmp_path: Path, empty_label_studio: Path
) -> None:
    """Seen in its output, too: no library has printed anything."""
    shutil.copytree(empty_label_studio, tmp_path / "data" / "label-studio")
    with started(command(tmp_path), tmp_path / "stderr") as (process, mark):
        is_up = any("log in as" in line for line in process.stdout or ())
        assert is_up, (tmp_path / "stderr").read_text()[-3000:]
        assert len(processes_with(mark)) > 5  # Label Studio, Ray, the service and its replica
        if ending is signal.SIGINT:
            os.killpg(process.pid, ending)  # as a terminal does
        else:
            process.send_signal(ending)
        assert process.wait(STOP_LIMIT_S) == status, (tmp_path / "stderr").read_text()[-3000:]
        assert processes_with(mark) == []
        assert (tmp_path / "stderr").read_text().split() in ([], ["Aborted."])


def test_a_command_that_is_interrupted_while_it_starts_leaves_nothing_running(
    tmp_path: Path, empty_label_studio: Path
) -> None:
    shutil.copytree(empty_label_studio, tmp_path / "data" / "label-studio")
    with started(annotate(tmp_path), tmp_path / "stderr") as (process, mark):
        deadline = time.monotonic() + STOP_LIMIT_S
        while not any("gcs_server" in name for name in processes_with(mark)):  # Ray is starting
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_LIMIT_S)
        assert processes_with(mark) == []


@contextmanager
def started(command: list[str], log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command until the block ends; yield it, and a mark in its environment and its children's."""
    mark = f"clickpose-test-{uuid.uuid4().hex}"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "clickpose", *command, "--port", str(free_port())],
            cwd=REPOSITORY,
            env=os.environ | {"MARK": mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process, mark
    finally:
        process.kill()
        process.wait()


def processes_with(mark: str) -> list[str]:
    """Number and command of each process that inherited an environment with the mark, however it was adopted since."""
    marked = [path.parent for path in Path("/proc").glob("[0-9]*/environ") if mark in readable(path)]
    return [f"{path.name}: {readable(path / 'cmdline').replace(chr(0), ' ')}" for path in marked]


def readable(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
