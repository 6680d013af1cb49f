"""A real predictor can be evaluated, and every click that it holds stays where it was placed."""

import json

import pytest
import torch

from clickpose.evaluation import ClickStyle, SimulatedAnnotator, Simulation, annotate, clicks_per_person, evaluate
from clickpose.model import ClickPose, tiny
from clickpose.oks import within_tolerance
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople

COCO17 = Skeleton.load("coco17")
DRAWN = DrawnPeople(COCO17, num_images=2, max_persons=2)


@pytest.fixture(scope="module")
def untrained() -> Predictor:
    torch.manual_seed(0)
    return Predictor(ClickPose(tiny(len(COCO17))), COCO17)


def test_an_untrained_model_can_be_evaluated_and_holds_every_click(untrained: Predictor) -> None:
    metrics = evaluate(untrained, DRAWN.annotations, DRAWN.load_image, Simulation(max_clicks=2, goals=[0.9]))
    json.dumps(metrics, allow_nan=False)
    assert metrics["max_held_drift_px@90"] == 0.0
    assert metrics["num_persons"] == DRAWN.annotations.num_persons == 3


def test_only_a_hold_on_all_clicks_keeps_them_all(untrained: Predictor) -> None:
    drift_px = {
        hold: clicks_per_person(
            untrained, DRAWN.annotations, DRAWN.load_image, cap=3, style=ClickStyle(hold=hold)
        ).max_held_drift_px
        for hold in ("all", "current", "none")
    }
    assert drift_px["all"] == 0.0 < drift_px["current"] <= drift_px["none"]


def test_an_annotator_finishes_with_any_model(untrained: Predictor) -> None:
    record = DRAWN.annotations.images[1]
    annotator = SimulatedAnnotator(record, COCO17)
    poses = annotate(untrained, DRAWN.load_image(record), annotator, max_clicks=17 * len(record.persons))
    for index, person in annotator.matches.items():
        truth = annotator.persons[person]
        close = within_tolerance(poses[index].keypoints_px, truth, COCO17.sigmas)
        assert close[truth.visibility > 0].all()
