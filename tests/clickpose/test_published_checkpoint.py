"""Published checkpoints become networks and networks checkpoints, without the loss of a bit or a surprise."""

import argparse
import json
import pathlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clickpose.checkpoints.published_file import build_network, read_checkpoint, write_checkpoint
from clickpose.checkpoints.published_names import our_name, to_published, twin_name
from clickpose.errors import InvalidModel
from clickpose.model import ClickPose, ModelConfig, resnet50_coco, tiny
from tests.clickpose.builders import build_model

KEYS = Path(__file__).parents[2] / ".." / "shared" / "reference" / "checkpoint-keys.json"


def small(num_keypoints: int = 14) -> ModelConfig:
    """The published model, but for its size."""
    return replace(tiny(num_keypoints), person_layers=2, pose_layers=4)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return to_published(build_model(small()).state_dict())


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def save_content(content: Any) -> Path:
        torch.save(content, tmp_path / "checkpoint.pth")
        return tmp_path / "checkpoint.pth"

    return save_content


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("config", [tiny(), small(), small(3)])
def test_a_network_comes_back_from_a_checkpoint_bit_for_bit(tmp_path: Path, config: ModelConfig) -> None:
    network, path = build_model(config), tmp_path / "weights.pth"
    assert write_checkpoint(network, path, lambda _: config) == []
    back = build_network(read_checkpoint(path), "x", lambda k: replace(config, num_keypoints=k))
    assert back.config == config
    assert same(back.state_dict(), network.state_dict())


def test_a_checkpoint_comes_back_from_a_network_bit_for_bit(weights: dict[str, Tensor], tmp_path: Path) -> None:
    write_checkpoint(build_network(weights, "x", small), tmp_path / "weights.pth", small)
    assert same(read_checkpoint(tmp_path / "weights.pth"), weights)


@pytest.mark.skipif(not KEYS.is_file(), reason=f"the list of published weights is not at {KEYS}")
def test_names_shapes_and_aliases_are_all_those_of_a_published_checkpoint() -> None:
    with torch.device("meta"):
        ours = to_published(ClickPose(resnet50_coco()).state_dict())
    rows = json.loads(KEYS.read_text())["state_dict"]
    assert {name: list(weight.shape) for name, weight in ours.items()} == {row["key"]: row["shape"] for row in rows}
    assert {row["key"]: row["alias_of"] or row["key"] for row in rows} == {name: twin_name(name) for name in ours}


def test_aliases_are_the_names_that_are_not_ours(weights: dict[str, Tensor]) -> None:
    aliases = [name for name in weights if our_name(name) is None]
    assert "pose_hw_embed.3.layers.0.bias" in aliases and "transformer.decoder.pose_hw_embed.1.layers.2.bias" in aliases
    assert len(weights) - len(aliases) == len(build_model(small()).state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"model": weights},
        lambda weights: {"model": {f"module.{name}": weight for name, weight in weights.items()}},
        lambda weights: {"model": weights, "optimizer": {"state": {}}, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        lambda weights: {"model": weights | {"backbone.0.body.bn1.num_batches_tracked": torch.tensor(7)}},
        lambda weights: {"model": weights, "ema_model": {}},
    ],
)
def test_weights_are_found_wherever_they_are(
    weights: dict[str, Tensor], save: Callable[[Any], Path], wrap: Callable[[Any], Any]
) -> None:
    assert same(read_checkpoint(save(wrap(weights))), weights)


def test_the_running_average_is_taken_when_asked_for(weights: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    average = {f"module.{name}": weight + 1 for name, weight in weights.items()}
    path = save({"model": weights, "ema_model": average})
    assert same(read_checkpoint(path), weights)
    assert same(read_checkpoint(path, "ema_model"), {name: weight + 1 for name, weight in weights.items()})


def test_weights_that_are_not_there_are_not_replaced_by_others(save: Callable[[Any], Path]) -> None:
    weight = {"label_enc.weight": torch.ones(1)}
    with pytest.raises(InvalidModel, match=r"no weights under 'model'; it contains ema_model, epoch"):
        read_checkpoint(save({"ema_model": weight, "epoch": 3}))
    with pytest.raises(InvalidModel, match=r"no weights under 'ema_model'; it contains the weights themselves"):
        read_checkpoint(save(weight), "ema_model")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "contains a list, a dict of weights is expected"),
        ({}, "no weights under 'model'; it contains nothing"),
        ({"model": {"label_enc.weight": [1.0]}}, "entries that are not weights: label_enc.weight is a list"),
        ({"model": {}, "args": pathlib.PurePosixPath("x")}, r"holds a pathlib\.\w+ beside its weights.*torch\.save"),
    ],
)
def test_a_file_of_something_else_is_explained(save: Callable[[Any], Path], content: Any, message: str) -> None:
    with pytest.raises(InvalidModel, match=rf"checkpoint\.pth.*{message}"):
        read_checkpoint(save(content))


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a checkpoint ran code",))


def test_nothing_in_a_checkpoint_is_executed(weights: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    with pytest.raises(InvalidModel, match="reading that could run code"):
        read_checkpoint(save({"model": weights, "args": argparse.Namespace(hook=Bomb())}))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"<!DOCTYPE html>", b"hi\n", b"PK\x03\x04", b"\x80\x02}.", b"0", b"\x8a", b"J\0", b"tt"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match=r"weights\.pth"):
        read_checkpoint(path)
    with pytest.raises(InvalidModel, match="cannot be read"):
        read_checkpoint(tmp_path / "none.pth")


def test_all_that_does_not_fit_is_listed_under_published_names(weights: dict[str, Tensor]) -> None:
    del weights["transformer.level_embed"], weights["label_enc_pose.weight"]
    weights["transformer.pose_net.weight"] = torch.zeros(1)
    weights["label_enc.weight"] = torch.zeros(7, 32)
    weights["bbox_embed.0.layers.0.bias"] = weights["bbox_embed.0.layers.0.bias"] + 1
    weights["transformer.decoder.norm.bias"] = torch.full((32,), torch.nan)
    with pytest.raises(InvalidModel) as refusal:
        build_network(weights, "weights.pth", small)
    for part in (
        "weights.pth: 6 weights do not fit",
        "transformer.level_embed is missing",
        "label_enc_pose.weight is missing",
        "transformer.pose_net.weight is unknown",
        "label_enc.weight has shape (7, 32), not (101, 32)",
        "bbox_embed.0.layers.0.bias differs from transformer.decoder.bbox_embed.0.layers.0.bias, which is",
        "transformer.decoder.norm.bias contains numbers that are not finite",
    ):
        assert part in str(refusal.value)


def test_one_name_of_a_weight_is_enough(weights: dict[str, Tensor]) -> None:
    canonical = {name: weight for name, weight in weights.items() if name == twin_name(name)}
    aliased = dict(reversed({twin_name(name): name for name in weights}.items()))
    for fewer in (canonical, {name: weights[name] for name in aliased.values()}):
        assert len(fewer) < len(weights)
        network = build_network(fewer, "x", small)
        assert same(to_published(network.state_dict()), weights)


def test_the_number_of_keypoints_comes_from_the_weights(weights: dict[str, Tensor]) -> None:
    with pytest.raises(InvalidModel, match=r"x is not a Click-Pose checkpoint: transformer\.decoder\.hw\.weight"):
        build_network({"fc.weight": torch.ones(1)}, "x", small)
    weights["transformer.decoder.hw.weight"] = torch.zeros(9, 2)
    with pytest.raises(InvalidModel, match=r"keypoint_embed\.weight has shape \(70, 32\), not \(45, 32\)"):
        build_network(weights, "x", small)


def test_a_model_that_the_published_program_could_not_load_is_not_written(tmp_path: Path) -> None:
    network = build_model(replace(small(), encoder_layers=2, min_score=0.1))
    with pytest.raises(InvalidModel, match=r"could not load this model: encoder_layers is 2, not 1$"):
        write_checkpoint(network, tmp_path / "weights.pth", small)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_a_checkpoint_cannot_hold_are_told(tmp_path: Path) -> None:
    network = build_model(replace(small(), min_score=0.1))
    assert write_checkpoint(network, tmp_path / "weights.pth", small) == ["min_score is 0.1, not 0.0"]
