"""A command that is interrupted while it labels stops everything it has started, before it ends itself."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
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
    shutil.copytree(empty_label_studio, tmp_path / "data" / "label-studio")
    mark = f"clickpose-test-{uuid.uuid4().hex}"
    with (tmp_path / "stderr").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "clickpose", *command(tmp_path), "--port", str(free_port())],
            cwd=REPOSITORY,
            env=os.environ | {"MARK": mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        is_up = any("log in as" in line for line in process.stdout)
        assert is_up, (tmp_path / "stderr").read_text()[-3000:]
        assert len(processes_with(mark)) > 5  # Label Studio, Ray, the service and its replica
        if ending is signal.SIGINT:
            os.killpg(process.pid, ending)  # as a terminal does
        else:
            process.send_signal(ending)
        assert process.wait(STOP_LIMIT_S) == status, (tmp_path / "stderr").read_text()[-3000:]
        assert processes_with(mark) == []
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
