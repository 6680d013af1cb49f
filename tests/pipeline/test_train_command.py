"""``clickpose train``: what is typed reaches training, and what cannot be is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from clickpose.__main__ import app
from clickpose.checkpoints.model_folder import load_model
from clickpose.commands.train import Preset, new_model
from clickpose.errors import InvalidAnnotation, InvalidConfig
from clickpose.first_guess.networks import movenet_backbone
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton

COCO, HUMAN_ART = Skeleton.load("coco17"), Skeleton.load("humanart21")
SMALL = ("--set", "augment.short_sides_px=[64]", "--set", "augment.crop=0")  # images as the tiny network takes them


@pytest.fixture
def train(drawn_people: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Type ``clickpose train`` for one epoch, from the tiny COCO model unless told otherwise."""
    monkeypatch.setattr("clickpose.training.cpu.tune_for_cpu", lambda num_threads: None)  # outlives the test

    def run(*options: str, data: Path = drawn_people / "annotations.json", run: str = "run") -> Path:
        words = ["train", str(data), "--images", str(drawn_people), "--out", str(tmp_path / "out")]
        words += ["--run", str(tmp_path / run), "--epochs", "1", "--batch-size", "4", *SMALL]
        start = [] if "--preset" in options else ["--init", str(tiny_model)]
        done = CliRunner().invoke(app, [*words, *start, *options])
        if done.exception is not None:
            raise done.exception
        return tmp_path / "out"

    return run


def test_a_model_learns_keypoints_that_its_data_do_not_label(train, tmp_path: Path) -> None:
    after, before = load_model(train("--skeleton", "humanart21")), load_model(tmp_path / "run" / "start")
    assert before.skeleton == after.skeleton == HUMAN_ART
    labels = before.network.keypoint_label.weight[1:]
    assert torch.equal(labels[HUMAN_ART.index("left_toe")], labels[COCO.index("left_ankle")])
    assert all(weight.isfinite().all() for weight in after.network.state_dict().values())


def test_a_new_network_may_have_other_keypoints_than_its_data(train, tmp_path: Path) -> None:
    weights = ClickPose(tiny()).backbone.body.state_dict()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, tmp_path / "backbone")
    out = train("--preset", "tiny", "--backbone-weights", str(tmp_path / "backbone"), "--skeleton", "crowdpose14")
    assert load_model(out).skeleton == Skeleton.load("crowdpose14")


def test_the_small_network_starts_from_a_backbone_that_has_seen_poses(tmp_path: Path) -> None:
    start = new_model(tmp_path / "start", COCO, Preset.mobilenet_v2_demo, None)
    body = load_model(start).network.backbone.body
    assert torch.equal(body["17"].conv[2].weight, movenet_backbone()["17.conv.2.weight"])


def test_every_location_may_be_a_uri(train, drawn_people: Path, tiny_model: Path, tmp_path: Path) -> None:
    data = f"file://{drawn_people}/annotations.json"
    options = ["--val", data, "--init", f"file://{tiny_model}", "--json", f"file://{tmp_path}/numbers/train.json"]
    options += ["--run", f"file://{tmp_path}/there", "--out", f"file://{tmp_path}/model"]
    train(*options, "--skeleton", "humanart21", data=data)
    numbers = json.loads((tmp_path / "numbers" / "train.json").read_text())
    assert (numbers["folder"], numbers["best"]) == (f"file://{tmp_path}/model", f"file://{tmp_path}/model-best")
    assert load_model(tmp_path / "model").skeleton == load_model(tmp_path / "model-best").skeleton == HUMAN_ART


def test_a_run_does_not_change_its_skeleton(train) -> None:
    train("--skeleton", "humanart21")
    with pytest.raises(InvalidConfig, match="run was started with skeleton 'humanart21'"):
        train("--skeleton", "crowdpose14")


def test_bad_records_are_left_out_unless_told_otherwise(train, drawn_people: Path, tmp_path: Path) -> None:
    document = json.loads((drawn_people / "annotations.json").read_text())
    document["annotations"][0]["bbox"] = "wide"
    (tmp_path / "bad.json").write_text(json.dumps(document))
    with pytest.raises(InvalidAnnotation, match="bbox"):
        train("--strict", data=tmp_path / "bad.json")
    train(data=tmp_path / "bad.json", run="other")


def test_any_setting_can_be_typed(train, tmp_path: Path) -> None:
    train("--set", "num_denoised=0", "--set", "feedback.hold=all")
    config = json.loads((tmp_path / "run" / "settings.json").read_text())["job"]["config"]
    assert (config["num_denoised"], config["feedback"]["hold"], config["epochs"]) == (0, "all", 1)
    with pytest.raises(InvalidConfig, match="there is no setting 'num_denoise'"):
        train("--set", "num_denoise=0")
