"""The tables that ``clickpose evaluate`` prints: accuracy, AP after n clicks, number of clicks, and costs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table

from clickpose.annotations import CROWDING
from clickpose.commands.table_cells import (
    FIRST,
    Ours,
    Theirs,
    add_heading,
    add_row,
    counts,
    get,
    new_table,
    number,
    numbers,
    of_first,
    plus,
    short,
    signed,
)
from clickpose.evaluation.sensitivity import Sensitivity
from integrations.label_studio.times import AnnotationTimes

COCO = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")
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
    table = new_table(title, "first pass", *COCO, "mean OKS")
    metrics = of_first(ours)
    rows = {"keypoints": "", "persons shown": "shown/", "boxes": "box/"}
    rows |= {f"{name} images": f"{name}/" for name in CROWDING if f"{name}/AP" in metrics}
    for label, prefix in rows.items():
        mean_oks = "" if prefix else number(metrics.get("mean_oks@C0"))
        table.add_row(label, *numbers(metrics, [prefix + key for key in COCO]), mean_oks)
    for name, by_strategy in theirs.items():
        metrics = of_first(by_strategy)
        table.add_row(name, *numbers(metrics, COCO), number(metrics.get("mean_oks@C0")))
        table.add_row(f"{name}, boxes", *numbers(metrics, [f"box/{key}" for key in COCO]), "")
    return table


def after_clicks(ours: Ours, theirs: Theirs, refined: Theirs) -> Table:
    """Show AP after n clicks on each person, by hand and with the model's answers."""
    others = {**theirs, **refined}
    columns = ("by hand", "answers", "new scores", *(f"{name}, by hand" for name in others), *refined)
    table = new_table("AP after clicks on each person", "clicks", *columns, "OKS by hand", "OKS")
    table.caption = CURVE_CAPTION
    for strategy, metrics in ours.items():
        add_heading(table, strategy, ours)
        for n in counts(metrics, r"AP@C(\d+)"):
            keys = f"AP@C{n}/by_hand", f"AP@C{n}{FIRST}", f"AP@C{n}"
            manual = [get(by_strategy[strategy], f"AP@C{n}/by_hand") for by_strategy in others.values()]
            manual += [get(by_strategy[strategy], f"AP@C{n}{FIRST}") for by_strategy in refined.values()]
            rest = f"mean_oks@C{n}/by_hand", f"mean_oks@C{n}"
            table.add_row(f"{n}", *numbers(metrics, keys), *map(number, manual), *numbers(metrics, rest))
    return table


def scored_alone(ours: Ours) -> list[str]:
    """Return the selections of keypoints that the curve was scored on alone."""
    matches = (re.fullmatch(r"(.+)/AP@C0", name) for name in of_first(ours))
    return [match[1] for match in matches if match and match[1] != "box"]


def of_some_keypoints(ours: Ours) -> Table:
    """Show AP after clicks, scored on some keypoints alone (table 12 of the paper)."""
    names = scored_alone(ours)
    columns = [column for name in names for column in (f"{name}, by hand", name)]
    table = new_table("AP after clicks, scored on these keypoints alone", "clicks", *columns)
    for strategy, metrics in ours.items():
        add_heading(table, strategy, ours)
        for n in counts(metrics, r"AP@C(\d+)"):
            keys = [f"{name}/AP@C{n}{of}" for name in names for of in ("/by_hand", "")]
            table.add_row(f"{n}", *numbers(metrics, keys))
    return table


def gains(ours: Ours) -> Table:
    """Show where the AP after n clicks comes from: the click, the answers, or the new ranking of persons."""
    columns = ("click", "answers", "new scores", "all", "last answer", "with new scores")
    table = new_table("gain in AP", "clicks", *columns)
    table.caption = GAIN_CAPTION
    for strategy, metrics in ours.items():
        add_heading(table, strategy, ours)
        for n in counts(metrics, r"gain_by_loop@C(\d+)"):
            click, loop = metrics[f"gain_by_click@C{n}"], metrics[f"gain_by_loop@C{n}"]
            answers = get(metrics, f"gain_by_loop@C{n}{FIRST}")
            ranking, together = plus(loop, answers, sign=-1), plus(click, loop)
            last = get(metrics, f"gain_by_answer@C{n}{FIRST}"), metrics[f"gain_by_answer@C{n}"]
            table.add_row(f"{n}", *map(signed, (click, answers, ranking, together, *last)))
    return table


def number_of_clicks(ours: Ours, theirs: Theirs, refined: Theirs) -> Table:
    """Show the published number of clicks and, apart from it, clicks per person, by goal."""
    goals = counts(of_first(ours), r"clicks@(\d+)")
    table = new_table("number of clicks", "", *(f".{goal}" for goal in goals))
    for strategy, metrics in ours.items():
        answered = {name: by_strategy[strategy] for name, by_strategy in refined.items()}
        others = {name: by_strategy[strategy] for name, by_strategy in theirs.items()} | answered
        add_heading(table, strategy, ours)
        table.add_row("rounds per image until its AP is (NoC)")
        add_row(table, "  model answers, new scores", goals, metrics, "NoC@{}")
        for name, model in {"model answers": metrics, **answered}.items():
            add_row(table, f"  {name}", goals, model, "NoC@{}" + FIRST)
        for name, model in {"the same": metrics, **others}.items():
            add_row(table, f"  {name} by hand", goals, model, "NoC@{}/by_hand")
        table.add_row("clicks per person until its OKS is")
        for name, model in {"model answers": metrics, **answered}.items():
            add_row(table, f"  {name}", goals, model, "clicks@{}")
        for name, model in {"the same": metrics, **others}.items():
            add_row(table, f"  {name} by hand", goals, model, "manual_clicks@{}")
    return table


def costs(ours: Ours) -> Table:
    """Show harm, drift and times beside clicks per person, by goal."""
    goals = counts(of_first(ours), r"clicks@(\d+)")
    table = new_table("costs until a person's OKS is ...", "", *(f".{goal}" for goal in goals))
    for strategy, metrics in ours.items():
        add_heading(table, strategy, ours)
        for label, key in COSTS.items():
            add_row(table, label, goals, metrics, key)
    return table


def sensitivity(levels: Sequence[Sensitivity]) -> Table:
    """Show what the pose layers make of true persons whose keypoints were moved."""
    table = new_table(
        "AP of true persons, disturbed", "largest move, in halves of the box", "as given", "after a round"
    )
    for level in levels:
        table.add_row(f"{level.noise:g}", number(level.given_ap), number(level.answered_ap))
    return table


def seconds(times: Sequence[AnnotationTimes]) -> Table:
    """Show the times of annotators, by the model that they started from (table 1 of the paper)."""
    columns = (
        "annotations",
        "persons",
        "seconds per person",
        "of annotators",
        "clicks per person",
        "seconds per click",
    )
    table = new_table("Label Studio's clock", "started from", *columns)
    for one in times:
        values = (one.clicks_per_person, one.seconds_per_click)
        table.add_row(
            f"  {one.annotator}" if one.annotator else one.model_version or "nothing",
            str(one.num_annotations),
            str(one.num_persons),
            f"{short(one.mean_s)} ± {short(one.deviation_s)}",
            f"± {short(one.deviation_of_annotators_s)}" if not one.annotator else "",
            *map(short, values),
        )
    table.caption = "seconds per person: mean and standard deviation of annotations; that of the annotators' means."
    if untimed := sum(one.num_untimed for one in times if not one.annotator):
        table.caption += f" {untimed} annotations without a time left out."
    return table
