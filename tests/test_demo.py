"""The whole loop against a real Label Studio, on a few of the shipped pictures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clickpose.commands.demo.pictures import PICTURES, find_pictures
from clickpose.errors import ImageError
from clickpose.skeleton import Skeleton
from integrations.label_studio.server import free_port

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 700


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory, empty_label_studio: Path) -> dict:
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(empty_label_studio, folder / "report" / "data" / "label-studio")
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


def test_an_annotated_picture_that_is_not_there_is_named_before_anything_starts(tmp_path: Path) -> None:
    coco = Skeleton.load("coco17")
    assert len(find_pictures(PICTURES, coco).files) >= 4
    shutil.copy(PICTURES / "annotations.json", tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ImageError, match=r"images has no \d+\.jpg, which annotations.json names"):
        find_pictures(tmp_path, coco)
