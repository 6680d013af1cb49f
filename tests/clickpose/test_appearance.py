"""What persons look like is read off the maps that the model has anyway."""

from pathlib import Path

import numpy as np
from PIL import Image

from clickpose.first_guess.looker import MAP_CHANNELS
from clickpose.images import read_image
from clickpose.predictor import Predictor
from tests.clickpose.builders import SKELETON, build_model

ROOT = Path(__file__).parents[2]


def test_an_image_looks_like_itself_scaled_and_unlike_another() -> None:
    predictor = Predictor.load(ROOT / "models" / "demo")
    folder = ROOT / "examples" / "pictures" / "images"
    first, second = (read_image(str(folder / f"{name}.jpg")) for name in ("000000000790", "000000060623"))
    looks = []
    for image in (first, first.resize((first.width * 4 // 5, first.height * 4 // 5)), second):
        encoded = predictor.encode(image)
        poses = predictor.detect(encoded)
        looks.append(np.array(predictor.appearance(encoded, poses)))
        assert len(looks[-1]) == MAP_CHANNELS[-1] and poses
    assert np.linalg.norm(looks[0] - looks[1]) < np.linalg.norm(looks[0] - looks[2]) / 2
    assert predictor.appearance(encoded, []) == ()


def test_a_model_without_crops_says_nothing() -> None:
    predictor = Predictor(build_model(), SKELETON)
    encoded = predictor.encode(Image.new("RGB", (64, 64)))
    poses = predictor.hypotheses(encoded)
    assert poses and predictor.appearance(encoded, poses) == ()
