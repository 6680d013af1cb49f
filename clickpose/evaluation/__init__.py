"""How good a model is: average precision, simulated annotators, and the clicks that a pose costs.

In reading order:

report.py         every number that we report, in one pass over a data set; metric_names.py says what each is called
visits.py         that pass: each image is encoded and detected once, for all measures
annotators.py     who corrects: the protocol, and an annotator who knows the truth
loop.py           the loop: annotator and model take turns
click_style.py    the style of a simulated annotator, and its rounds of clicks
predictors.py     the interface that evaluation needs from a predictor, and two that ignore clicks

coco_metrics.py   average precision, by pycocotools
rounds.py         rounds of clicks as the paper plays them, computed once for all measures
click_curve.py    average precision after n clicks per person
noc.py            rounds per image until its AP reaches a goal, as published
click_cost.py     clicks per person until that person's OKS reaches a goal
image_costs.py    the same for each image by itself, to compare two models
corrections.py    one image corrected click by click, and the effect of each refine
sensitivity.py    how much wrong input the pose layers repair
reliability.py    whether the score of a keypoint is the chance that it is right
matching.py       which predicted pose shows which annotated person
stopwatch.py      how long each call of a predictor takes

plots.py          click curves, bars of clicks and of time, and other figures
overlays.py       poses before and after clicks, drawn on images
"""

from clickpose.evaluation.annotators import STRATEGIES, Annotator, SimulatedAnnotator
from clickpose.evaluation.click_cost import ClickCost, clicks_per_person
from clickpose.evaluation.click_curve import ClickCurve, ap_at_clicks
from clickpose.evaluation.click_style import ClickStyle
from clickpose.evaluation.coco_metrics import box_ap, keypoint_ap
from clickpose.evaluation.loop import annotate
from clickpose.evaluation.noc import NumberOfClicks, number_of_clicks
from clickpose.evaluation.predictors import ManualCorrection, PosePredictor, RecordedResults, convert_poses
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
