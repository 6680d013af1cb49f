"""The model that ships, on the images that ship: a refine saves clicks, and what a human placed stays."""

from dataclasses import replace
from pathlib import Path

from clickpose.evaluation import ClickStyle, clicks_per_person
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from pipeline.dataset import ImageFolder

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "examples" / "pictures"


def test_a_refine_saves_clicks() -> None:
    predictor = Predictor.load(REPOSITORY / "models" / "demo")
    everything, images = read_coco(PICTURES / "annotations.json"), ImageFolder(str(PICTURES / "images"))
    truth = replace(everything, images=everything.images[6:9])  # the crowded ones
    cost = clicks_per_person(predictor, truth, images, oks_threshold=0.85, style=ClickStyle(add="click"))
    assert cost.num_persons > 15
    assert cost.mean_clicks < 0.9 * cost.manual_mean_clicks
    assert cost.max_held_drift_px == 0.0
