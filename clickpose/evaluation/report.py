"""Everything we report about a model, in one walk over a data set: the content of its ``metrics.json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from clickpose.annotations import AnnotationSet, Pose
from clickpose.evaluation.click_cost import ClickCost, CostMeter
from clickpose.evaluation.clicks import DEFAULT_STYLE, GOALS, ClickStyle
from clickpose.evaluation.coco_metrics import box_ap, keypoint_ap
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.published import ClickCurve, CurveMeter, NocMeter, NumberOfClicks
from clickpose.evaluation.visits import LoadImage, Progress, Visit, visit_images
from clickpose.poses import SAME_PERSON_IOU, drop_duplicates

Metrics: TypeAlias = dict[str, float | None]


class PrecisionMeter:
    """Collects the first pass for average precision."""

    def __init__(self) -> None:
        """Start with no picture."""
        self.found: dict[int, list[Pose]] = {}
        self.distinct: dict[int, list[Pose]] = {}

    def visit(self, visit: Visit) -> None:
        """Keep the persons found in one picture."""
        self.found[visit.image.id] = visit.candidates
        self.distinct[visit.image.id] = drop_duplicates(visit.candidates, SAME_PERSON_IOU)

    def result(self, annotations: AnnotationSet) -> Metrics:
        """Return COCO's numbers for keypoints of all hypotheses, of distinct persons, and for boxes."""
        boxes = {f"box/{name}": value for name, value in box_ap(annotations, self.found).items()}
        distinct = {f"distinct/{name}": value for name, value in keypoint_ap(annotations, self.distinct).items()}
        return {**keypoint_ap(annotations, self.found), **distinct, **boxes}


def evaluate(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    *,
    max_clicks: int = 4,
    goals: Sequence[float] = GOALS,
    style: ClickStyle = DEFAULT_STYLE,
    progress: Progress | None = None,
) -> Metrics:
    """Measure a model; the keys are plain names, for a model card and ``metrics.json``.

    ``AP`` ... ``AR_L`` and ``box/AP`` ... of the first pass, all hypotheses counted as published, and
    ``distinct/AP`` ... without duplicates, as people are shown them (-1 where nothing was counted) · ``AP@C0`` ...
    ``AP@C4`` after rounds of clicks and ``NoC@85`` ... rounds a picture, both as published, and as
    ``AP@C1/first_scores`` ... where persons' scores of the first pass give other numbers · ``clicks@85`` ... and
    ``manual_clicks@85`` ... a person, and what else ``ClickCost`` tells · ``num_images``, ``num_persons``.
    None stands for a share of nothing.

    Args:
        predictor: the model; ``ManualCorrection`` or ``RecordedResults`` for one that does not listen.
        annotations: the truth, in the predictor's skeleton.
        load_image: gives the picture of a record.
        max_clicks: rounds of the AP curve.
        goals: AP of a picture for NoC, and OKS of a person for clicks per person.
        style: who clicks, in clicks per person; the published measures keep their own.
        progress: called with (pictures done, pictures in all).

    Raises:
        InvalidAnnotation: the annotations have other keypoints than the predictor.
    """
    precision, curve = PrecisionMeter(), CurveMeter(predictor, max_clicks)
    rounds = NocMeter(predictor, goals)
    costs = [CostMeter(predictor, goal, style=style) for goal in goals]
    visit_images(predictor, annotations, load_image, [precision, curve, rounds, *costs], progress)
    metrics = precision.result(annotations) | _curve_metrics(curve.result()) | _noc_metrics(rounds.result())
    for cost in costs:
        metrics |= _cost_metrics(cost.result())
    metrics |= {"num_images": len(annotations), "num_persons": annotations.num_persons}
    return {name: None if value is None or math.isnan(value) else value for name, value in metrics.items()}


def _curve_metrics(curve: ClickCurve) -> Metrics:
    metrics: Metrics = {f"AP@C{n}": numbers["AP"] for n, numbers in enumerate(curve.rounds)}
    if curve.first_scores != curve.rounds:
        metrics |= {f"AP@C{n}/first_scores": numbers["AP"] for n, numbers in enumerate(curve.first_scores)}
    return metrics


def _noc_metrics(counts: NumberOfClicks) -> Metrics:
    metrics: Metrics = {f"NoC@{_percent(goal)}": value for goal, value in counts.rounds.items()}
    if counts.first_scores != counts.rounds:
        metrics |= {f"NoC@{_percent(goal)}/first_scores": value for goal, value in counts.first_scores.items()}
    return metrics


def _cost_metrics(cost: ClickCost) -> Metrics:
    values = cost.to_dict()
    goal = _percent(values.pop("oks_threshold"))
    del values["num_persons"]
    renamed = {"mean_clicks": "clicks", "manual_mean_clicks": "manual_clicks"}
    return {f"{renamed.get(name, name)}@{goal}": value for name, value in values.items()}


def _percent(goal: float) -> int:
    return round(100 * goal)
