"""``clickpose convert`` as it is typed, on a network of the published size."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from clickpose.__main__ import app
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.commands.convert import choose_skeleton
from clickpose.errors import InvalidConfig, InvalidModel, InvalidSkeleton
from clickpose.model import ClickPose, resnet50_coco
from clickpose.skeleton import Skeleton
from tests.clickpose.builders import SKELETON, build_model


def run(*words: object) -> str:
    return CliRunner().invoke(app, ["convert", *map(str, words)], catch_exceptions=False).output


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was written from a folder."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    save_model(folder / "model", ClickPose(resnet50_coco(14)), SKELETON, metrics={}, card="")
    run(folder / "model", folder / "new" / "model.pth", "--to-published")
    return folder / "new" / "model.pth"


def test_there_and_back_changes_not_a_bit(checkpoint: Path, tmp_path: Path) -> None:
    printed = run(checkpoint, tmp_path / "back", "--json", tmp_path / "result.json")
    first, second = (load_file(f / "weights.safetensors") for f in (checkpoint.parents[1] / "model", tmp_path / "back"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    loaded = load_model(tmp_path / "back")
    assert (loaded.network.config, loaded.skeleton) == (resnet50_coco(14), SKELETON)
    assert "14 keypoints of crowdpose14" in printed
    assert json.loads((tmp_path / "result.json").read_text())["skeleton"] == "crowdpose14"
    assert "`model` of model.pth, sha256 " in (tmp_path / "back" / "card.md").read_text()


def test_the_wrong_direction_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidConfig, match="is a folder; to write it as a checkpoint, add --to-published"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(InvalidConfig, match="is a file; a model is written as a folder"):
        run(tmp_path / "file", tmp_path / "file")
    with pytest.raises(InvalidConfig, match="is a folder; a checkpoint is written as a file"):
        run(tmp_path, tmp_path, "--to-published")
    with pytest.raises(InvalidConfig, match="a checkpoint does not name its keypoints"):
        run(tmp_path, tmp_path / "out", "--to-published", "--skeleton", "coco17")


def test_a_model_of_another_build_is_no_published_one(tmp_path: Path) -> None:
    save_model(tmp_path / "m", build_model(), SKELETON, metrics={}, card="")
    with pytest.raises(InvalidModel, match="backbone is 'mobilenet_v2', not 'resnet50'"):
        run(tmp_path / "m", tmp_path / "m.pth", "--to-published")


def test_the_skeleton_is_the_one_of_that_size_or_the_one_named(tmp_path: Path) -> None:
    assert choose_skeleton(17) == Skeleton.load("coco17")
    assert choose_skeleton(21) == Skeleton.load("humanart21")
    own = Skeleton("own", tuple(f"k{i}" for i in range(14)), (0.1,) * 14)
    (tmp_path / "own.json").write_text(json.dumps(own.to_dict()))
    assert choose_skeleton(14, str(tmp_path / "own.json")) == own
    with pytest.raises(InvalidSkeleton, match="the model has 17 keypoints; own has 14: say which with --skeleton"):
        choose_skeleton(17, str(tmp_path / "own.json"))
    with pytest.raises(InvalidSkeleton, match="the model has 9 keypoints; coco17 has 17, crowdpose14 has 14"):
        choose_skeleton(9)
