"""How good a model is, in clicks: average precision, simulated annotators, and what a pose costs."""

from clickpose.evaluation.annotators import STRATEGIES, Annotator, SimulatedAnnotator
from clickpose.evaluation.click_cost import ClickCost, clicks_per_person
from clickpose.evaluation.click_curve import ClickCurve, ap_at_clicks
from clickpose.evaluation.clicks import ClickStyle, annotate
from clickpose.evaluation.coco_metrics import box_ap, keypoint_ap
from clickpose.evaluation.predictors import ManualCorrection, PosePredictor, RecordedResults, convert_poses
from clickpose.evaluation.published import NumberOfClicks, number_of_clicks
from clickpose.evaluation.report import Simulation, evaluate, evaluate_all

__all__ = [
    "STRATEGIES",
    "Annotator",
    "ClickCost",
    "ClickCurve",
    "ClickStyle",
    "ManualCorrection",
    "NumberOfClicks",
    "PosePredictor",
    "RecordedResults",
    "SimulatedAnnotator",
    "Simulation",
    "annotate",
    "ap_at_clicks",
    "box_ap",
    "clicks_per_person",
    "convert_poses",
    "evaluate",
    "evaluate_all",
    "keypoint_ap",
    "number_of_clicks",
]
