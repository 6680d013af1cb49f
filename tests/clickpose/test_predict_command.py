"""``clickpose predict`` with a model that has learnt nothing."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from clickpose.__main__ import app
from clickpose.checkpoints.model_folder import save_model
from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton

SKELETON = Skeleton.load("crowdpose14")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "model"
    torch.manual_seed(0)
    save_model(folder, ClickPose(tiny(len(SKELETON))), SKELETON, metrics={}, card="")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cam1/1.png", "cam2/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (96, 64), "#5a6a7a").save(tmp_path / name)
    return tmp_path


def run(model: Path, *words: object) -> Result:
    return CliRunner().invoke(app, ["predict", "--model", str(model), *map(str, words)])


def test_every_image_gets_a_drawing_of_its_size_and_results_beside_it(model: Path, photos: Path) -> None:
    first = run(model, photos)
    assert first.exit_code == 0, first.output
    written = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.poses.*"))
    assert written == [f"cam{n}/1.poses.{suffix}" for n in (1, 2) for suffix in ("jpg", "json")]
    assert Image.open(photos / "cam1" / "1.poses.jpg").size == (96, 64)
    for record in json.loads((photos / "cam1" / "1.poses.json").read_text()):
        assert record["file_name"].endswith("cam1/1.png") and len(record["keypoints"]) == 3 * len(SKELETON)
    assert run(model, photos).output == first.output  # what was written is no image


def test_out_keeps_folders_apart_and_leaves_the_photos_alone(model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(model, photos / "cam1", photos / "cam2" / "1.png", "--out", out / "one")
    assert isinstance(done.exception, InvalidConfig) and "both be written" in str(done.exception)
    assert run(model, photos, "--out", out, "--json", tmp_path / "all.json").exit_code == 0
    assert sorted(path.parent.name for path in out.rglob("*.jpg") if "one" not in path.parts) == ["cam1", "cam2"]
    assert not list((photos / "cam1").glob("*.poses.*"))
    assert json.loads((tmp_path / "all.json").read_text())["failed"] == 0


def test_an_image_that_cannot_be_read_is_named_and_the_others_go_on(model: Path, photos: Path) -> None:
    (photos / "cam1" / "0.jpg").write_text("no image")
    done = run(model, photos)
    assert done.exit_code == 1 and "left out" in done.output and "0.jpg" in done.output
    assert len(list(photos.rglob("*.poses.jpg"))) == 2


def test_results_that_cannot_be_written_are_named_and_the_others_go_on(model: Path, photos: Path) -> None:
    name = f"{'a' * 248}.png"  # the drawing's name would be too long
    (photos / "cam1" / name).write_bytes((photos / "cam1" / "1.png").read_bytes())
    done = run(model, photos)
    assert done.exit_code == 1 and f"{'a' * 248} cannot be written: File name too long" in done.output
    assert len(list(photos.rglob("*.poses.jpg"))) == 2


def test_a_photo_that_is_not_there_is_named(model: Path, photos: Path) -> None:
    assert "nowhere.jpg" in str(run(model, photos / "nowhere.jpg").exception)
