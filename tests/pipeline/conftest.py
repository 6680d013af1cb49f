"""Small images, poses and models that tests of the pipeline share."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clickpose.annotations import AnnotationSet, Pose
from clickpose.checkpoints.model_folder import save_model
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from integrations.coco import read_coco, write_coco
from pipeline.prelabel import PrelabelOptions, prelabel
from pipeline.registry import Registry
from pipeline.store import Store
from tests.pipeline.prelabelling import PAW, FakePredictor


@pytest.fixture
def make_images(tmp_path):
    """Write grey images and return their folder; an image's brightness is its place in the list."""

    def make(*names: str) -> Path:
        folder = tmp_path / "images"
        for index, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 24), (index,) * 3).save(folder / name)
        return folder

    return make


@pytest.fixture
def make_pose():
    """A pose of ``num_keypoints`` keypoints at random places, the same for the same seed."""

    def make(num_keypoints: int = 3, seed: int = 0) -> Pose:
        rng = np.random.default_rng(seed)
        return Pose(
            keypoints_px=rng.uniform(0, 24, (num_keypoints, 2)).astype(np.float32),
            visibility=rng.integers(0, 3, num_keypoints),
            scores=rng.random(num_keypoints).astype(np.float32),
            box_px=np.array([0, 0, 32, 24], np.float32),
            score=0.75,
            held=rng.random(num_keypoints) < 0.5,
        )

    return make


@pytest.fixture(scope="session")
def drawn_people(tmp_path_factory):
    """Eight images of drawn people on disk: a folder with ``annotations.json`` and the images."""
    folder = tmp_path_factory.mktemp("drawn")
    people = DrawnPeople(Skeleton.load("coco17"), num_images=8, size_wh=(96, 72), max_persons=2)
    for image in people.annotations.images:
        people.load_image(image).save(folder / image.file_name)
    write_coco(people.annotations, folder / "annotations.json")
    return folder


@pytest.fixture(scope="session")
def annotations(drawn_people) -> AnnotationSet:
    """The annotations of the drawn people."""
    return read_coco(drawn_people / "annotations.json")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a small untrained model."""
    torch.manual_seed(0)
    skeleton = Skeleton.load("coco17")
    folder = tmp_path_factory.mktemp("models") / "v0001-tiny"
    return save_model(folder, ClickPose(tiny(len(skeleton))), skeleton, metrics={}, card="# A small model")


@pytest.fixture
def store(tmp_path, tiny_model) -> Store:
    """A store whose current model is the small untrained one."""
    store = Store(tmp_path / "store")
    Registry(store).promote(Registry(store).add(tiny_model))
    return store


@pytest.fixture
def model(tmp_path):
    """A model folder with nothing to load in it."""
    folder = tmp_path / "models" / "v0001-abc"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "skeleton.json").write_text(json.dumps(PAW.to_dict()))
    return folder


@pytest.fixture
def label(tmp_path, model, make_pose):
    """Run ``prelabel`` in this process into ``tmp_path / "out"``."""

    def run(images, predictor=None, **options):
        predictor = predictor or FakePredictor(make_pose())
        options = PrelabelOptions(**{"shard_size": 2, "num_workers": 0} | options)
        return prelabel(images, tmp_path / "out", model, options, load=lambda _: predictor)

    return run
