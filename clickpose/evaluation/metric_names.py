"""What the numbers of ``metrics.json`` are called.

None stands for a share of nothing, -1 (COCO's) for an AP of nothing.

    AP AP50 AP75 AP_M AP_L AR ...  keypoints of the first pass, all hypotheses counted, as published; box/AP ...: boxes;
                                   shown/AP ...: of the persons that an annotator is shown;
                                   easy/AP medium/AP hard/AP ...: by crowding, where there is a crowd index (CrowdPose)
    AP@Cn  AR@Cn  box/AP@Cn ...    after n rounds of clicks, as published
    AP@Cn/by_hand  AP50@Cn/by_hand ...        where a click moves one keypoint and nothing else
    AP@Cn/unanswered  AP50@Cn/unanswered ...  where the model has answered to all clicks but the last
    gain_by_click@Cn               AP@Cn/by_hand less AP@C0
    gain_by_loop@Cn                AP@Cn less AP@Cn/by_hand: what all answers together bring
    gain_by_answer@Cn              AP@Cn less AP@Cn/unanswered: what the last one brings, the paper's parentheses
    mean_oks@Cn  .../by_hand       over all labelled persons; knows no scores
    NoC@85  .../by_hand            rounds per image, as published
    clicks@85  manual_clicks@85    per person, and the rest of ``ClickCost``
    .../first_scores               with persons' scores of the first pass, where they give other numbers
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from clickpose.evaluation.click_cost import ClickCost
from clickpose.evaluation.click_curve import ClickCurve, Numbers
from clickpose.evaluation.noc import NumberOfClicks

Metrics: TypeAlias = dict[str, float | None]

SHOWN_AT_CLICKS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")


def plain(metrics: Metrics) -> Metrics:
    """Return the same with None for NaN, which JSON does not have."""
    return {name: None if value is None or math.isnan(value) else value for name, value in metrics.items()}


def curve_metrics(curve: ClickCurve) -> Metrics:
    """Name the numbers after each round of clicks."""
    metrics = _ranked_metrics(curve.answered.rounds, curve.unanswered.rounds, curve.boxes.rounds, curve.by_hand)
    first_scores = _ranked_metrics(
        curve.answered.first_scores, curve.unanswered.first_scores, curve.boxes.first_scores, curve.by_hand
    )
    if first_scores != metrics:
        metrics |= {f"{name}/first_scores": value for name, value in first_scores.items()}
    metrics |= {f"{name}@C{n}/by_hand": of[name] for n, of in enumerate(curve.by_hand) for name in SHOWN_AT_CLICKS}
    manual = [numbers["AP"] for numbers in curve.by_hand]
    metrics |= {f"gain_by_click@C{n}": _gain(manual[n], manual[0]) for n in range(1, len(manual))}
    metrics |= {f"mean_oks@C{n}": value for n, value in enumerate(curve.mean_oks)}
    return metrics | {f"mean_oks@C{n}/by_hand": value for n, value in enumerate(curve.mean_oks_by_hand)}


def partial_metrics(curve: ClickCurve) -> Metrics:
    """Name the numbers of a curve that is scored on some keypoints only."""
    metrics: Metrics = {f"AP@C{n}": numbers["AP"] for n, numbers in enumerate(curve.answered.first_scores)}
    return metrics | {f"AP@C{n}/by_hand": numbers["AP"] for n, numbers in enumerate(curve.by_hand)}


def _ranked_metrics(
    answered: Sequence[Numbers], unanswered: Sequence[Numbers], boxes: Sequence[Numbers], by_hand: Sequence[Numbers]
) -> Metrics:
    """Name the numbers of one ranking of the persons: that of each round, or that of the first pass."""
    metrics: Metrics = {f"{name}@C{n}": of[name] for n, of in enumerate(answered) for name in SHOWN_AT_CLICKS}
    metrics |= {f"box/{name}@C{n}": of[name] for n, of in enumerate(boxes) for name in SHOWN_AT_CLICKS}
    for n in range(1, len(answered)):
        metrics |= {f"{name}@C{n}/unanswered": unanswered[n][name] for name in SHOWN_AT_CLICKS}
        metrics[f"gain_by_loop@C{n}"] = _gain(answered[n]["AP"], by_hand[n]["AP"])
        metrics[f"gain_by_answer@C{n}"] = _gain(answered[n]["AP"], unanswered[n]["AP"])
    return metrics


def _gain(after: float, before: float) -> float | None:
    return None if min(after, before) < 0 else after - before


def noc_metrics(counts: NumberOfClicks) -> Metrics:
    """Name the rounds per image until each goal is reached."""
    metrics: Metrics = {f"NoC@{_percent(goal)}": value for goal, value in counts.rounds.items()}
    metrics |= {f"NoC@{_percent(goal)}/by_hand": value for goal, value in counts.by_hand.items()}
    if counts.first_scores != counts.rounds:
        metrics |= {f"NoC@{_percent(goal)}/first_scores": value for goal, value in counts.first_scores.items()}
    return metrics


def cost_metrics(cost: ClickCost) -> Metrics:
    """Name the clicks per person until a goal is reached."""
    values = cost.to_dict()
    goal = _percent(values.pop("oks_threshold"))
    del values["num_persons"]
    renamed = {"mean_clicks": "clicks", "manual_mean_clicks": "manual_clicks"}
    return {f"{renamed.get(name, name)}@{goal}": value for name, value in values.items()}


def _percent(goal: float) -> int:
    return round(100 * goal)
