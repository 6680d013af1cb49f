"""The tables that ``clickpose evaluate`` prints: accuracy, AP after n clicks, number of clicks, and costs.

``Ours`` are the metrics of our model by click strategy, ``Theirs`` those of other models by name and strategy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from rich.table import Table

from clickpose.annotations import CROWDING
from clickpose.evaluation.report import Metrics
from integrations.label_studio.times import AnnotationTimes

Ours: TypeAlias = Mapping[str, Metrics]
Theirs: TypeAlias = Mapping[str, Mapping[str, Metrics]]

COCO = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")
FIRST = "/first_scores"
CURVE_CAPTION = (
    "answers: persons keep their scores of the first pass. new scores: all take those of the round, as published."
)
GAIN_CAPTION = (
    "click: by hand, minus AP without a click. answers: the others follow. new scores: persons are ranked again."
    " The three add up to all. last answer: minus AP before the model answers to the last click, as the paper counts"
    " gains."
)
COSTS = {
    "persons that did not reach it": "num_failed@{}",
    "the same by hand": "manual_num_failed@{}",
    "persons added, two clicks each": "num_added@{}",
    "poses that show no labelled person": "num_spurious@{}",
    "harm: good keypoints made worse": "harm@{}",
    "help: bad keypoints corrected": "help@{}",
    "held drift, px": "max_held_drift_px@{}",
    "answer, ms": "answer_ms@{}",
    "answer, ms, 95th percentile": "answer_ms_p95@{}",
}


def accuracy(title: str, ours: Ours, theirs: Theirs) -> Table:
    """Show COCO's numbers of the first pass; of another model's results those that its file can give."""
    table = _table(title, "first pass", *COCO, "mean OKS")
    metrics = _first(ours)
    rows = {"keypoints": "", "distinct persons": "distinct/", "boxes": "box/"}
    rows |= {f"{name} images": f"{name}/" for name in CROWDING if f"{name}/AP" in metrics}
    for label, prefix in rows.items():
        mean_oks = "" if prefix else _number(metrics.get("mean_oks@C0"))
        table.add_row(label, *_row(metrics, [prefix + key for key in COCO]), mean_oks)
    for name, by_strategy in theirs.items():
        metrics = _first(by_strategy)
        table.add_row(name, *_row(metrics, COCO), _number(metrics.get("mean_oks@C0")))
        table.add_row(f"{name}, boxes", *_row(metrics, [f"box/{key}" for key in COCO]), "")
    return table


def after_clicks(ours: Ours, theirs: Theirs) -> Table:
    """Show AP after n clicks on each person, by hand and with the model's answers."""
    columns = ("by hand", "answers", "new scores", *(f"{name}, by hand" for name in theirs))
    table = _table("AP after clicks on each person", "clicks", *columns, "box AP", "OKS by hand", "OKS")
    table.caption = CURVE_CAPTION
    for strategy, metrics in ours.items():
        _add_heading(table, strategy, ours)
        for n in _counts(metrics, r"AP@C(\d+)"):
            keys = f"AP@C{n}/by_hand", f"AP@C{n}{FIRST}", f"AP@C{n}"
            manual = [by_strategy[strategy].get(f"AP@C{n}/by_hand") for by_strategy in theirs.values()]
            rest = f"box/AP@C{n}", f"mean_oks@C{n}/by_hand", f"mean_oks@C{n}"
            table.add_row(f"{n}", *_row(metrics, keys), *map(_number, manual), *_row(metrics, rest))
    return table


def scored_alone(ours: Ours) -> list[str]:
    """Return the selections of keypoints that the curve was scored on alone."""
    matches = (re.fullmatch(r"(.+)/AP@C0", name) for name in _first(ours))
    return [match[1] for match in matches if match and match[1] != "box"]


def of_some_keypoints(ours: Ours) -> Table:
    """Show AP after clicks, scored on some keypoints alone (table 12 of the paper)."""
    names = scored_alone(ours)
    columns = [column for name in names for column in (f"{name}, by hand", name)]
    table = _table("AP after clicks, scored on these keypoints alone", "clicks", *columns)
    for strategy, metrics in ours.items():
        _add_heading(table, strategy, ours)
        for n in _counts(metrics, r"AP@C(\d+)"):
            keys = [f"{name}/AP@C{n}{of}" for name in names for of in ("/by_hand", "")]
            table.add_row(f"{n}", *_row(metrics, keys))
    return table


def gains(ours: Ours) -> Table:
    """Show where the AP after n clicks comes from: the click, the answers, or the new ranking of persons."""
    columns = ("click", "answers", "new scores", "all", "last answer", "with new scores")
    table = _table("gain in AP", "clicks", *columns)
    table.caption = GAIN_CAPTION
    for strategy, metrics in ours.items():
        _add_heading(table, strategy, ours)
        for n in _counts(metrics, r"gain_by_loop@C(\d+)"):
            click, loop = metrics[f"gain_by_click@C{n}"], metrics[f"gain_by_loop@C{n}"]
            answers = _get(metrics, f"gain_by_loop@C{n}{FIRST}")
            ranking, together = _sum(loop, answers, sign=-1), _sum(click, loop)
            last = _get(metrics, f"gain_by_answer@C{n}{FIRST}"), metrics[f"gain_by_answer@C{n}"]
            table.add_row(f"{n}", *map(_signed, (click, answers, ranking, together, *last)))
    return table


def number_of_clicks(ours: Ours, theirs: Theirs) -> Table:
    """Show the published number of clicks and, apart from it, clicks per person, by goal."""
    goals = _counts(_first(ours), r"clicks@(\d+)")
    table = _table("number of clicks", "", *(f".{goal}" for goal in goals))
    for strategy, metrics in ours.items():
        others = {name: by_strategy[strategy] for name, by_strategy in theirs.items()}
        _add_heading(table, strategy, ours)
        table.add_row("rounds per image until its AP is (NoC)")
        _add_row(table, "  model answers, new scores", goals, metrics, "NoC@{}")
        _add_row(table, "  model answers", goals, metrics, "NoC@{}" + FIRST)
        for name, model in {"the same": metrics, **others}.items():
            _add_row(table, f"  {name} by hand", goals, model, "NoC@{}/by_hand")
        table.add_row("clicks per person until its OKS is")
        _add_row(table, "  model answers", goals, metrics, "clicks@{}")
        for name, model in {"the same": metrics, **others}.items():
            _add_row(table, f"  {name} by hand", goals, model, "manual_clicks@{}")
    return table


def costs(ours: Ours) -> Table:
    """Show harm, drift and times beside clicks per person, by goal."""
    goals = _counts(_first(ours), r"clicks@(\d+)")
    table = _table("costs until a person's OKS is ...", "", *(f".{goal}" for goal in goals))
    for strategy, metrics in ours.items():
        _add_heading(table, strategy, ours)
        for label, key in COSTS.items():
            _add_row(table, label, goals, metrics, key)
    return table


def seconds(times: Sequence[AnnotationTimes]) -> Table:
    """Show the times of annotators, by the model that they started from."""
    columns = ("annotations", "persons", "seconds per person", "clicks per person", "seconds per click")
    table = _table("Label Studio's clock", "started from", *columns)
    for one in times:
        values = (one.seconds_per_person, one.clicks_per_person, one.seconds_per_click)
        table.add_row(
            one.model_version or "nothing", str(one.num_annotations), str(one.num_persons), *map(_short, values)
        )
    untimed = sum(one.num_untimed for one in times)
    table.caption = f"{untimed} annotations without a time left out" if untimed else None
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _add_heading(table: Table, strategy: str, ours: Ours) -> None:
    if len(ours) > 1:
        table.add_section()
        table.add_row(f"[bold]{strategy}[/bold]")


def _add_row(table: Table, label: str, goals: Iterable[int], metrics: Metrics, key: str) -> None:
    table.add_row(label, *(_short(_get(metrics, key.format(goal))) for goal in goals))


def _first(by_strategy: Mapping[str, Metrics]) -> Metrics:
    return next(iter(by_strategy.values()))


def _counts(metrics: Metrics, pattern: str) -> list[int]:
    """Return the numbers in the keys that match as a whole."""
    return [int(match[1]) for match in (re.fullmatch(pattern, name) for name in metrics) if match]


def _get(metrics: Metrics, key: str) -> float | None:
    """Return a number; those with the scores of the first pass exist only where they differ."""
    return metrics.get(key, metrics.get(key.removesuffix(FIRST)))


def _sum(first: float | None, second: float | None, sign: int = 1) -> float | None:
    return None if first is None or second is None else first + sign * second


def _row(metrics: Metrics, keys: Iterable[str]) -> list[str]:
    return [_number(_get(metrics, key)) for key in keys]


def _number(value: float | None) -> str:
    """Show a share; COCO's -1 stands for nothing to count."""
    return "-" if value is None or value < 0 else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
