"""The demo keeps what README says of it, with a real Label Studio and a few of the shipped images."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clickpose.commands.demo.images import PICTURES, find_images
from clickpose.errors import ImageError
from clickpose.skeleton import Skeleton
from integrations.label_studio.server import free_port

REPOSITORY = Path(__file__).parents[1]
NUM_IMAGES, NUM_ANNOTATED = 4, 2  # the others are held back
LIMIT_S = 700


@dataclass(frozen=True)
class Shown:
    """What a demo printed, and its numbers."""

    text: str
    numbers: dict[str, Any]

    @property
    def report(self) -> Path:
        return Path(self.numbers["report"])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, empty_label_studio: Path) -> Shown:
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(empty_label_studio, folder / "report" / "data" / "label-studio")
    command = [sys.executable, "-m", "clickpose", "demo", "--limit", str(NUM_IMAGES), "--no-stay"]
    command += ["--out", str(folder / "report"), "--json", str(folder / "demo.json"), "--port", str(free_port())]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"COLUMNS": "300"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Shown(done.stdout, json.loads((folder / "demo.json").read_text()))


def rows_of(table: str) -> list[str]:
    """The names in the first column of a printed table."""
    return [row[1].strip() for line in table.splitlines() if len(row := line.split("│")) > 2 and row[1].strip()]


@pytest.mark.cluster
def test_the_table_has_the_rows_that_the_readme_shows(demo: Shown) -> None:
    promised = rows_of((REPOSITORY / "README.md").read_text())
    assert len(promised) > 10
    assert rows_of(demo.text) == promised


@pytest.mark.cluster
def test_every_image_is_labelled_and_every_annotation_comes_back(demo: Shown) -> None:
    numbers = demo.numbers
    assert (numbers["pictures"], numbers["failed_pictures"]) == (NUM_IMAGES, 0)
    assert numbers["annotations_exported"] == NUM_ANNOTATED


@pytest.mark.cluster
def test_no_request_fails_not_even_during_the_round(demo: Shown) -> None:
    assert demo.numbers["failed_requests"] == 0
    assert demo.numbers["requests"] > demo.numbers["persons"]


@pytest.mark.cluster
def test_clicks_are_counted_with_and_without_a_model_that_follows(demo: Shown) -> None:
    """Whether it saves clicks, four images cannot tell: ``tests/clickpose/test_shipped_model.py`` takes all."""
    unseen, annotating = demo.numbers["clicks_per_person"], demo.numbers["clicks_per_person_annotating"]
    for clicks in (*unseen["refine"].values(), *unseen["manual"].values(), *annotating.values()):
        assert 0 < clicks <= 17 + 2  # every keypoint, and adding the person


@pytest.mark.cluster
def test_clicks_are_answered_within_a_second(demo: Shown) -> None:
    assert 0 < demo.numbers["answer_ms"]["p50"] <= min(demo.numbers["answer_ms"]["p95"], 1000)


@pytest.mark.cluster
def test_the_gate_decides_which_model_serves_and_says_why(demo: Shown) -> None:
    numbers = demo.numbers
    assert len(numbers["model_versions"]) == (2 if numbers["promoted"] else 1)
    assert "clicks per person" in numbers["reason"] or "more persons" in numbers["reason"]
    if not numbers["promoted"]:
        assert all(clicks["before"] == clicks["after"] for clicks in numbers["clicks_per_person"].values())


@pytest.mark.cluster
def test_the_report_shows_an_image_that_went_well_and_one_that_went_badly(demo: Shown) -> None:
    text = (demo.report / "report.md").read_text()
    assert "## Well done" in text and "## Badly done" in text
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len([name for name in shown if name.endswith("-after-one-click.jpg")]) == NUM_ANNOTATED
    assert all((demo.report / name).stat().st_size > 1000 for name in shown)


def test_an_annotated_image_that_is_not_there_is_named_before_anything_starts(tmp_path: Path) -> None:
    coco = Skeleton.load("coco17")
    assert len(find_images(PICTURES, coco).files) >= 4
    shutil.copy(PICTURES / "annotations.json", tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ImageError, match=r"images has no \d+\.jpg, which annotations.json names"):
        find_images(tmp_path, coco)
