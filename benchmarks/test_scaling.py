"""Data drawn in place of an encoded image can be refined, so that its time can be measured."""

from benchmarks.scaling import draw_encoded, refine_of
from clickpose.model import ClickPose, tiny
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton


def test_drawn_data_can_be_refined() -> None:
    skeleton = Skeleton.load("coco17")
    predictor = Predictor(ClickPose(tiny(len(skeleton))), skeleton)
    encoded = draw_encoded(tiny(len(skeleton)), (96, 64))
    assert encoded.num_bytes > 0
    refine_of(predictor, encoded, count=2)()
