"""A model folder is read back to the last digit, and refused when anything in it does not fit."""

import itertools
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clickpose.checkpoints.files import ALL, NEEDED, skeleton_of
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.errors import InvalidModel
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from tests.clickpose.builders import SKELETON, build_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "m", build_model(), SKELETON, metrics={"ap": 0.25}, card="# A model\n")


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_there_and_back_loses_nothing(folder: Path) -> None:
    loaded, model = load_model(folder), build_model()
    weights = loaded.network.state_dict()
    assert sorted(path.name for path in folder.iterdir()) == sorted(ALL)
    assert (loaded.network.config, loaded.skeleton, loaded.metrics) == (model.config, SKELETON, {"ap": 0.25})
    assert not loaded.network.training
    for name, weight in model.state_dict().items():
        assert torch.equal(weights[name], weight), name


def test_half_precision_takes_half_the_room_and_is_read_as_float32(folder: Path, tmp_path: Path) -> None:
    half = save_model(tmp_path / "half", build_model(), SKELETON, metrics={}, card="", dtype=torch.float16)
    small, large = ((path / "weights.safetensors").stat().st_size for path in (half, folder))
    assert small < 0.6 * large
    weights = build_model().state_dict()
    for name, weight in load_model(half).network.state_dict().items():
        torch.testing.assert_close(weight, weights[name], atol=1e-3, rtol=1e-3)


def test_saving_again_replaces(folder: Path) -> None:
    save_model(folder, build_model(), SKELETON, metrics={"ap": 0.5}, card="# Another\n")
    assert load_model(folder).metrics == {"ap": 0.5}


def test_numbers_are_optional(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    (folder / "card.md").unlink()
    assert load_model(folder).metrics == {}


def test_the_skeleton_is_known_without_loading_the_model(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    assert skeleton_of(folder) == SKELETON
    (folder / "skeleton.json").unlink()
    with pytest.raises(InvalidModel, match=r"is not a model folder: skeleton\.json cannot be read"):
        skeleton_of(folder)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InvalidModel, match=f"is not a model folder: {name} missing"):
        load_model(folder)


@pytest.mark.parametrize(
    "name, content",
    [
        *itertools.product(ALL[:4], [b"", b"{", b"\xff\xfe\x00"]),
        *itertools.product(NEEDED, [b'{"a": 1}', b"[1, 2]"]),
    ],
)
def test_a_broken_file_is_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidModel, match=str(folder)):
        load_model(folder)


def test_cut_off_weights_are_refused(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InvalidModel, match="cannot be read"):
        load_model(folder)


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a model ran code",))


def test_nothing_in_a_folder_is_executed(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InvalidModel):
        load_model(folder)


def test_all_weights_that_do_not_fit_are_listed(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["decoder.norm.scale"] = weights.pop("decoder.norm.weight")
    weights["decoder.norm.bias"] = torch.zeros(7)
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(InvalidModel) as refusal:
        load_model(folder)
    for part in (
        "decoder.norm.weight is missing",
        "decoder.norm.scale is unknown",
        "decoder.norm.bias has shape (7,), not (32,)",
    ):
        assert part in str(refusal.value)


def test_a_skeleton_of_another_size_is_refused(folder: Path) -> None:
    (folder / "skeleton.json").write_text(json.dumps(Skeleton.load("coco17").to_dict()))
    with pytest.raises(InvalidModel, match=r"17 keypoints in skeleton.json, 14 in config.json"):
        load_model(folder)


def test_an_impossible_configuration_is_refused(folder: Path) -> None:
    edit_json(folder / "config.json", num_heads=0)
    with pytest.raises(InvalidModel, match="num_heads is 0"):
        load_model(folder)


SEEING = PersonFrameConfig(14, looker="lightning", width=32, ffn_width=32, num_heads=4, num_points=2, pose_layers=2)


def seeing_network() -> PersonFrameNetwork:
    """Its looker's weights, in half precision, are not the packaged ones."""
    torch.manual_seed(0)
    network = PersonFrameNetwork(SEEING).with_own_looker()
    for weight in network.looker.parameters():  # type: ignore[union-attr]
        weight.copy_((weight * (1 + 0.01 * torch.randn(weight.shape))).half())
    return network


def test_a_looker_of_its_own_travels_with_the_model(tmp_path: Path) -> None:
    network = seeing_network()
    folder = save_model(tmp_path / "m", network, SKELETON, metrics={}, card="")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*ALL, "looker.safetensors"])
    loaded = load_model(folder).network
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


def test_whoever_may_read_one_file_may_read_all(tmp_path: Path) -> None:
    """Training and serving may run as different users."""
    folder = save_model(tmp_path / "m", seeing_network(), SKELETON, metrics={}, card="")
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_a_missing_looker_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", seeing_network(), SKELETON, metrics={}, card="")
    (folder / "looker.safetensors").unlink()
    with pytest.raises(InvalidModel, match=r"looker\.safetensors"):
        load_model(folder)


def test_a_looker_that_was_replaced_is_gone(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", seeing_network(), SKELETON, metrics={}, card="")
    save_model(folder, seeing_network().with_settings(own_looker=False), SKELETON, metrics={}, card="")
    assert not (folder / "looker.safetensors").exists()
    network = load_model(folder).network
    assert isinstance(network, PersonFrameNetwork) and network.looker is None
