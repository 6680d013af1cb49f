"""The tables that ``clickpose evaluate`` prints: accuracy, what n clicks bring, how many clicks, what they cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from clickpose.evaluation.report import Metrics
from integrations.label_studio.times import AnnotationTimes

COCO = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")
FIRST = "/first_scores"
GAIN_CAPTION = (
    "click: by hand, less AP without a click. answers: the other keypoints follow. new scores: persons are ranked anew."
    " The three add up to all. last answer: less what AP would be had the model not answered to the last click, as the"
    " paper counts gains."
)


def accuracy(title: str, ours: Metrics, others: Mapping[str, Metrics]) -> Table:
    """Show COCO's numbers of the first pass; of another model's results those that its file can give."""
    table = _table(f"first pass: {title}", "", *COCO, "mean OKS")
    rows = {"keypoints": "", "keypoints, without duplicates": "distinct/", "boxes": "box/"}
    for label, prefix in rows.items():
        mean_oks = "" if prefix else _number(ours.get("mean_oks@C0"))
        table.add_row(label, *_row(ours, [prefix + key for key in COCO]), mean_oks)
    for name, metrics in others.items():
        table.add_row(f"{name}, keypoints", *_row(metrics, COCO), _number(metrics.get("mean_oks@C0")))
        table.add_row(f"{name}, boxes", *_row(metrics, [f"box/{key}" for key in COCO]), "")
    return table


def after_clicks(title: str, metrics: Metrics, others: Mapping[str, Metrics]) -> Table:
    """Show what n clicks on each person lead to, by hand and with the model's answers."""
    columns = ("by hand", "answers", "new scores", *(f"{name}, by hand" for name in others))
    table = _table(f"AP after clicks on each person: {title}", "clicks", *columns, "box AP", "OKS by hand", "OKS")
    table.caption = (
        "answers: persons keep their scores of the first pass. new scores: those of the round, as published."
    )
    for n in _counts(metrics, r"AP@C(\d+)"):
        keys = f"AP@C{n}/by_hand", f"AP@C{n}{FIRST}", f"AP@C{n}"
        manual = [other.get(f"AP@C{n}/by_hand") for other in others.values()]
        rest = f"box/AP@C{n}", f"mean_oks@C{n}/by_hand", f"mean_oks@C{n}"
        table.add_row(str(n), *_row(metrics, keys), *map(_number, manual), *_row(metrics, rest))
    return table


def gains(title: str, metrics: Metrics) -> Table:
    """Show where the AP after n clicks comes from: the click, the answers, or the new ranking of persons."""
    columns = ("click", "answers", "new scores", "all", "last answer", "with new scores")
    table = _table(f"gain in AP: {title}", "clicks", *columns)
    table.caption = GAIN_CAPTION
    for n in _counts(metrics, r"gain_by_loop@C(\d+)"):
        click, loop = metrics[f"gain_by_click@C{n}"], metrics[f"gain_by_loop@C{n}"]
        answers = _get(metrics, f"gain_by_loop@C{n}{FIRST}")
        ranking, together = _sum(loop, answers, sign=-1), _sum(click, loop)
        last = _get(metrics, f"gain_by_answer@C{n}{FIRST}"), metrics[f"gain_by_answer@C{n}"]
        table.add_row(str(n), *map(_signed, (click, answers, ranking, together, *last)))
    return table


def number_of_clicks(title: str, metrics: Metrics, others: Mapping[str, Metrics]) -> Table:
    """Show the published number of clicks and, apart from it, clicks a person, by goal."""
    goals = _counts(metrics, r"clicks@(\d+)")
    table = _table(f"number of clicks: {title}", "", *(f".{goal}" for goal in goals))
    published = {"NoC, model answers, new scores": "NoC@{}", "NoC, model answers": "NoC@{}" + FIRST}
    _add_rows(table, "rounds a picture until its AP is", goals, metrics, published | {"NoC, by hand": "NoC@{}/by_hand"})
    for name, other in others.items():
        _add_rows(table, "", goals, other, {f"NoC, {name} by hand": "NoC@{}/by_hand"})
    table.add_section()
    per_person = {"clicks, model answers": "clicks@{}", "clicks, by hand": "manual_clicks@{}"}
    _add_rows(table, "clicks a person until its OKS is", goals, metrics, per_person)
    for name, other in others.items():
        _add_rows(table, "", goals, other, {f"clicks, {name} by hand": "manual_clicks@{}"})
    return table


COSTS = {
    "persons that did not get there": "num_failed@{}",
    "the same by hand": "manual_num_failed@{}",
    "persons added, two clicks each": "num_added@{}",
    "poses that show nobody labelled": "num_spurious@{}",
    "harm: good keypoints an answer spoils": "harm@{}",
    "help: bad keypoints an answer mends": "help@{}",
    "held drift, px": "max_held_drift_px@{}",
    "answer, ms": "answer_ms@{}",
    "answer, ms, 95th percentile": "answer_ms_p95@{}",
}


def costs(title: str, metrics: Metrics) -> Table:
    """Show what comes with clicks a person, by goal."""
    goals = _counts(metrics, r"clicks@(\d+)")
    table = _table(f"costs a person: {title}", "until its OKS is", *(f".{goal}" for goal in goals))
    _add_rows(table, "", goals, metrics, COSTS)
    return table


def seconds(times: Sequence[AnnotationTimes]) -> Table:
    """Show what people took, by the model they started from."""
    columns = ("annotations", "persons", "seconds a person", "clicks a person", "seconds a click")
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


def _add_rows(table: Table, heading: str, goals: Iterable[int], metrics: Metrics, rows: Mapping[str, str]) -> None:
    if heading:
        table.add_row(f"[bold]{heading}[/bold]")
    for label, key in rows.items():
        table.add_row(f"  {label}" if heading else label, *(_short(_get(metrics, key.format(goal))) for goal in goals))


def _counts(metrics: Metrics, pattern: str) -> list[int]:
    """Return the numbers in the keys that match as a whole."""
    return [int(match[1]) for match in (re.fullmatch(pattern, name) for name in metrics) if match]


def _get(metrics: Metrics, key: str) -> float | None:
    """Return a number; those with the scores of the first pass are left out where they are the same."""
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
