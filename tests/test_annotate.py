"""``clickpose annotate`` as a new user has it: photos, a browser, a crash, the same command again, a better model."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.export import read_annotation
from integrations.label_studio.projects import USER
from integrations.label_studio.server import free_port
from pipeline.registry import Registry
from pipeline.snapshot import is_held_back
from pipeline.store import Store
from tests.integrations.labelling_page import SUBMIT, Editor

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "examples" / "pictures" / "images"
SKELETON = Skeleton.load(ROOT / "models" / "demo" / "skeleton.json")
START_LIMIT_S = 200.0  # far more than it takes, for a machine that does other things, too


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight photos in two folders, with equal names in both."""
    folder = tmp_path / "my photos"
    for number, image in enumerate(sorted(PICTURES.glob("*.jpg"))[:8]):
        (folder / f"cam{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder / f"cam{number % 2}" / f"{number // 2}.jpg")
    return folder


def test_photos_become_annotations_that_outlive_a_crash_and_a_better_model(
    photos: Path, tmp_path: Path, empty_label_studio: Path, page: Any
) -> None:
    data, port = tmp_path / "data", free_port()
    shutil.copytree(empty_label_studio, data / "label-studio")
    with annotating(photos, data, port) as (process, printed):
        client = client_of(data)
        address = printed["address"]
        project = int(address.split("/projects/")[1].split("/")[0])
        wait_for(lambda: len(tasks := list(client.tasks(project))) == 8 and all(task["predictions"] for task in tasks))
        task = next(task for task in client.tasks(project) if num_boxes(task) > 1 and is_learned_from(task))

        page.goto(address)
        page.fill("input[name=email]", printed["username"])
        page.fill("input[name=password]", printed["password"])
        page.click("button[type=submit]")
        page.wait_for_url(f"{address}**")
        editor = Editor(page, address.split("/projects/")[0], client, project, None)
        editor.open(task["id"])
        start = editor.places()
        editor.drag(next(name for name in start if name.startswith("p0_")))
        editor.settle()
        editor.select(next(name for name in start if name.startswith("p1_")))
        editor.press("Delete")
        shown = editor.places()
        assert not [name for name in shown if name == "p1" or name.startswith("p1_")]
        with page.expect_response("**/annotations*"):
            page.click(SUBMIT)
        process.kill()
        process.wait()

    registry = Registry(Store(data / "store"))
    first = registry.current()
    with annotating(photos, data, port, "tests.annotate_eagerly", "--retrain-after", "1") as (process, printed):
        assert printed["address"] == address
        tasks = list(client.tasks(project))
        assert len(tasks) == 8 and len({task["data"]["file_name"] for task in tasks}) == 8
        annotated = [task for task in tasks if task["annotations"]]
        assert [one["id"] for one in annotated] == [task["id"]] and len(annotated[0]["annotations"]) == 1
        found = read_annotation(annotated[0], annotated[0]["annotations"][0], SKELETON)
        assert len(found.image.persons) == num_boxes(task) - 1 and not found.flagged

        waiting = {one["id"] for one in tasks} - {task["id"]}
        wait_for(lambda: registry.current() != first)
        better = registry.current()
        wait_for(lambda: {one["id"] for one in client.tasks(project) if better in versions_of(one)} == waiting)
        wait_for(lambda: served_version(data, project) == better)
        served = client.next_task(project)
        assert served["id"] in waiting and better in versions_of(served)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@contextmanager
def annotating(
    photos: Path, data: Path, port: int, *command: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command until the block ends; yield its process, and what it printed."""
    module, *options = command or ["clickpose", "annotate"]
    options += [str(photos), "--data", str(data), "--port", str(port), "--no-browser"]
    log = data.with_name(f"annotate-{time.time_ns()}.log")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True
        )
    try:
        wait_for(lambda: "log in as" in log.read_text() or process.poll() is not None)
        said = log.read_text()
        match = re.search(r"(?P<address>http://\S+)\s+log in as (?P<username>\S+) with (?P<password>[^\s;]+)", said)
        assert match, said
        yield process, match.groupdict()
    finally:
        process.kill()
        process.wait()


def client_of(data: Path) -> LabelStudio:
    port = json.loads((data / "desk.json").read_text())["label_studio_port"]
    return LabelStudio(f"http://127.0.0.1:{port}", (data / "label-studio" / ".token").read_text())


def num_boxes(task: dict[str, Any]) -> int:
    return sum(item["type"] == "rectanglelabels" for item in task["predictions"][0]["result"])


def is_learned_from(task: dict[str, Any]) -> bool:
    return not is_held_back(task["data"]["file_name"])


def versions_of(task: dict[str, Any]) -> set[str]:
    return {prediction["model_version"] for prediction in task["predictions"]}


def served_version(data: Path, project: int) -> str:
    """Ask the service for its model, as Label Studio does."""
    kept = json.loads((data / "desk.json").read_text())
    body = {"project": f"{project}.0", "schema": "", "hostname": "", "access_token": ""}
    setup = f"http://127.0.0.1:{kept['service_port']}/setup"
    return str(httpx.post(setup, json=body, auth=(USER, kept["secret"]), trust_env=False).json()["model_version"])


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
