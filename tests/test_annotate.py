"""``clickpose annotate`` as a new user has it: a folder of photos, a browser, a crash, and the same command again."""

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

import pytest

from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.export import read_annotation
from integrations.label_studio.server import free_port
from pipeline.registry import Registry
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


def test_photos_become_annotations_that_outlive_a_crash(
    photos: Path, tmp_path: Path, empty_label_studio: Path, page: Any
) -> None:
    data, port = tmp_path / "data", free_port()
    shutil.copytree(empty_label_studio, data / "label-studio")
    with annotating(photos, data, port) as (process, printed):
        client = client_of(data)
        address = printed["address"]
        project = int(address.split("/projects/")[1].split("/")[0])
        wait_for(lambda: len(tasks := list(client.tasks(project))) == 8 and all(task["predictions"] for task in tasks))
        task = next(task for task in client.tasks(project) if num_boxes(task["predictions"][0]) > 1)

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

    with annotating(photos, data, port) as (process, printed):
        assert printed["address"] == address
        tasks = list(client.tasks(project))
        assert len(tasks) == 8 and len({task["data"]["file_name"] for task in tasks}) == 8
        annotated = [task for task in tasks if task["annotations"]]
        assert [one["id"] for one in annotated] == [task["id"]] and len(annotated[0]["annotations"]) == 1
        found = read_annotation(annotated[0], annotated[0]["annotations"][0], SKELETON)
        assert len(found.image.persons) == num_boxes(task["predictions"][0]) - 1 and not found.flagged
        served = client.next_task(project)
        assert served["id"] != task["id"]
        versions = {prediction["model_version"] for prediction in served["predictions"]}
        assert Registry(Store(data / "store")).current() in versions
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_better_model_is_served_and_labels_again_what_is_not_annotated(
    photos: Path, tmp_path: Path, empty_label_studio: Path
) -> None:
    """Seen: the round starts by itself, its model serves, and seven of eight photos get its predictions."""
    data = tmp_path / "data"
    shutil.copytree(empty_label_studio, data / "label-studio")
    command = [sys.executable, "-m", "tests.annotate_round", str(photos), str(data), str(free_port())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3 * START_LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["current"] == seen["served"] != seen["first"]
    assert seen["annotated"] == [seen["first"]]
    assert len(seen["waiting"]) == 7
    assert all(seen["current"] in versions for versions in seen["waiting"])


@contextmanager
def annotating(photos: Path, data: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command until the block ends; yield its process, and what it printed."""
    command = [sys.executable, "-m", "clickpose", "annotate", str(photos), "--data", str(data), "--port", str(port)]
    log = data.with_name(f"annotate-{time.time_ns()}.log")
    with log.open("w") as out:
        process = subprocess.Popen([*command, "--no-browser"], stdout=out, stderr=subprocess.STDOUT, text=True)
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


def num_boxes(prediction: dict[str, Any]) -> int:
    return sum(item["type"] == "rectanglelabels" for item in prediction["result"])


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
