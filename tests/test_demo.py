"""The whole loop against a real Label Studio, on a few of the shipped pictures."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from integrations.label_studio.server import free_port

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 700


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "clickpose", "demo", "--limit", "4", "--no-stay"]
    command += ["--out", str(folder / "report"), "--json", str(folder / "demo.json"), "--port", str(free_port())]
    done = subprocess.run(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "demo.json").read_text())


@pytest.mark.cluster
def test_no_request_failed_and_every_annotation_came_back(numbers) -> None:
    assert numbers["failed_requests"] == 0 and numbers["failed_pictures"] == 0
    assert numbers["pictures"] == 4 and numbers["annotations_exported"] == 2


@pytest.mark.cluster
def test_clicks_and_answers_were_measured(numbers) -> None:
    for way in ("manual", "refine"):
        assert numbers["clicks_per_person"][way]["before"] > 0 and numbers["clicks_per_person"][way]["after"] > 0
    assert 0 < numbers["answer_ms"]["p50"] <= numbers["answer_ms"]["p95"]


@pytest.mark.cluster
def test_the_model_in_service_is_the_one_the_gate_chose(numbers) -> None:
    assert len(numbers["model_versions"]) == (2 if numbers["promoted"] else 1)
    assert numbers["reason"]


@pytest.mark.cluster
def test_the_report_has_pictures_to_look_at(numbers) -> None:
    report = Path(numbers["report"])
    assert (report / "report.md").is_file() and len(list(report.glob("*-after-one-click.jpg"))) == 2


def processes_with(mark: str) -> list[int]:
    """Processes that inherited an environment with the mark, however they were adopted since."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in readable(path)]


def readable(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find what is left")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(ending, tmp_path) -> None:
    mark = f"clickpose-test-{uuid.uuid4().hex}"
    command = [sys.executable, "-u", "-m", "clickpose", "demo", "--limit", "4", "--no-stay", "--out", str(tmp_path)]
    command += ["--port", str(free_port())]
    demo = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"MARK": mark, "TMPDIR": str(tmp_path), "RAY_TMPDIR": "/tmp/ray"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    assert any("log in as" in line for line in demo.stdout), "the demo ended before it was interrupted"
    assert len(processes_with(mark)) > 5  # Label Studio, Ray, the service and its replica
    if ending is signal.SIGINT:
        os.killpg(demo.pid, ending)  # as a terminal does
    else:
        demo.send_signal(ending)
    assert demo.wait(60) == 130
    deadline = time.monotonic() + 20
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert processes_with(mark) == []
