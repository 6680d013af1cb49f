"""Predictions as a COCO file: other tools and our own reader open it, and no person is lost."""

import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco
from integrations.coco_predictions import write_predictions

SKELETON = Skeleton.load("coco17")


def pose(seed: int) -> Pose:
    random = np.random.default_rng(seed)
    places = random.uniform(5, 40, (17, 2)).astype(np.float32)
    box = np.array([*places.min(0), *places.max(0)], np.float32)
    return Pose(places, np.full(17, 2), random.random(17).astype(np.float32), box, 0.25, np.zeros(17, bool))


def test_predictions_there_and_back(tmp_path: Path) -> None:
    images = [("a.jpg", (64, 48), [pose(0), pose(1)]), ("empty.jpg", (8, 6), []), ("ü/b.jpg", (64, 48), [pose(2)])]
    write_predictions(iter(images), SKELETON, tmp_path / "x.json")
    read = read_coco(tmp_path / "x.json")
    assert read.skeleton == SKELETON
    assert [(image.file_name, image.size_wh, len(image.persons)) for image in read.images] == [
        (name, size_wh, len(poses)) for name, size_wh, poses in images
    ]
    np.testing.assert_allclose(read.images[2].persons[0].keypoints_px, pose(2).keypoints_px, atol=0.006)
    coco = COCO(tmp_path / "x.json")
    assert len(coco.anns) == 3 and {person["score"] for person in coco.anns.values()} == {0.25}


def test_nothing_predicted_is_a_file_all_the_same(tmp_path: Path) -> None:
    write_predictions([], SKELETON, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())["annotations"] == []
