"""The demo model's training on pixels, as one command on a machine that has little more than PyTorch."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clickpose.checkpoints.growing import grow
from clickpose.checkpoints.model_folder import load_model
from clickpose.first_guess.networks import make_finder
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.person_frame.drawing import CropDrawer
from clickpose.training.person_frame.epochs import CropSource
from clickpose.training.person_frame.packing import pack
from clickpose.training.person_frame.settings import DrawConfig
from integrations.coco import read_coco
from pipeline.dataset import ImageFolder
from pipeline.labelling_model import model_digest

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "examples" / "pictures"
STAND_IN = ROOT / "examples" / "without_safetensors"
pytestmark = pytest.mark.slow
ABSENT = ("scipy", "ray", "pyarrow", "pycocotools", "typer", "pydantic")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that the command wrote, with neither safetensors nor anything else that is not named in it."""
    folder, packed = tmp_path_factory.mktemp("gpu"), tmp_path_factory.mktemp("packed") / "packed.safetensors"
    people = read_coco(PICTURES / "annotations.json")
    load = ImageFolder(str(PICTURES / "images"))
    pack([CropSource(people)], (), load, make_finder(torch.device("cpu")), packed)
    for name in ABSENT:
        (folder / f"{name}.py").write_text("raise ImportError(__name__)\n")
    words = [packed, folder / "out", "--device", "cpu", "--quick", "--minutes", ".1"]
    path = f"{folder}:{STAND_IN}"
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = ["sh", str(ROOT / "examples" / "demo_gpu.sh"), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "out" / "model"


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(PICTURES / "images" / "000000174375.jpg").convert("RGB")


def test_the_command_ends_with_a_model_that_predicts(trained: Path, photo: Image.Image) -> None:
    predictor = Predictor.load(trained)
    poses = predictor.detect(predictor.encode(photo))
    assert poses
    network = load_model(trained).network
    assert isinstance(network, PersonFrameNetwork)
    in_memory = Predictor(network, predictor.skeleton)
    for pose, same in zip(poses, in_memory.detect(in_memory.encode(photo)), strict=True):
        assert np.array_equal(pose.keypoints_px, same.keypoints_px)


def test_it_is_another_model_than_with_the_packaged_looker(trained: Path, tmp_path: Path) -> None:
    digest = model_digest(trained)
    looker = trained / "looker.safetensors"
    content = looker.read_bytes()
    looker.write_bytes(content[:-2] + bytes(2))
    try:
        assert model_digest(trained) != digest
    finally:
        looker.write_bytes(content)


def test_its_crops_are_drawn_anew(trained: Path, tmp_path: Path) -> None:
    network = load_model(trained).network
    assert isinstance(network, PersonFrameNetwork)
    people, device = read_coco(PICTURES / "annotations.json"), torch.device("cpu")
    people = replace(people, images=people.images[:2])
    own, packaged = (
        CropDrawer(make_finder(device), one.make_looker(device), DrawConfig())
        for one in (network, network.with_settings(own_looker=False))
    )
    folders = [[folder for _, folder in drawer.parts(people, tmp_path)] for drawer in (own, packaged)]
    assert not set(folders[0]) & set(folders[1])


def test_a_model_grown_from_it_has_its_looker(trained: Path) -> None:
    model = load_model(trained)
    grown = grow(model.network, model.skeleton, Skeleton.load("humanart21"))
    weights = grown.state_dict()
    looker = {name: weight for name, weight in model.network.state_dict().items() if name.startswith("looker.")}
    assert looker and all(torch.equal(weights[name], weight) for name, weight in looker.items())
