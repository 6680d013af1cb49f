"""The paper's tables: models corrected by hand beside Click-Pose, and strategies of clicks beside each other."""

from __future__ import annotations

from rich.table import Table

from clickpose.commands.table_cells import (
    Ours,
    Theirs,
    add_heading,
    counts,
    get,
    new_table,
    number,
    numbers,
    of_first,
    plus,
    short,
)
from clickpose.evaluation.metric_names import Metrics

COLUMNS = ("AP", "AP50", "AP75", "AP_M", "AP_L")
MANUAL_CAPTION = (
    "manual: by hand. In parentheses the gain by the last answer, as the paper counts it: minus the same persons before"
    " the model answers to the last click; of boxes, minus the first pass."
)


def model_and_manual(ours: Ours, theirs: Theirs, refined: Theirs) -> Table:
    """Show tables 3, 5 and 7 of the paper: manual correction of any model, and Click-Pose-C1, C2, ..."""
    table = new_table("after n clicks on each person (Cn)", "", *COLUMNS, "box AP")
    table.caption = MANUAL_CAPTION
    for strategy, metrics in ours.items():
        add_heading(table, strategy, ours)
        answered = {name: by_strategy[strategy] for name, by_strategy in refined.items()}
        others = {"model": metrics} | {name: by_strategy[strategy] for name, by_strategy in theirs.items()} | answered
        for n in counts(metrics, r"AP@C(\d+)"):
            for name, other in others.items():
                label = f"{name} + manual, C{n}" if n else name
                table.add_row(label, *numbers(other, [f"{key}@C{n}/by_hand" for key in COLUMNS]), "")
            for name, model in {"": metrics, **answered}.items() if n else ():
                table.add_row(f"Click-Pose-C{n} {name}".strip(), *_with_gains(model, n))
    return table


def side_by_side(ours: Ours) -> Table:
    """Show every strategy and kind of rounds in a row (tables 10 and 11 of the paper)."""
    curve = [f"AP@C{n}" for n in counts(of_first(ours), r"AP@C(\d+)")]
    rounds = [f"NoC@{goal}" for goal in counts(of_first(ours), r"NoC@(\d+)")]
    costs = [f"clicks@{goal}" for goal in counts(of_first(ours), r"clicks@(\d+)")]
    table = new_table("strategies and rounds side by side", "", *curve, *rounds, *costs)
    for name, metrics in ours.items():
        table.add_row(name, *numbers(metrics, curve), *(short(metrics[key]) for key in (*rounds, *costs)))
    return table


def _with_gains(metrics: Metrics, n: int) -> list[str]:
    before = {f"{key}@C{n}": f"{key}@C{n}/unanswered" for key in COLUMNS} | {f"box/AP@C{n}": "box/AP@C0"}
    return [_with_gain(get(metrics, key), get(metrics, other)) for key, other in before.items()]


def _with_gain(after: float | None, before: float | None) -> str:
    gain = plus(after, before, sign=-1)
    return number(after) if gain is None or number(after) == "-" else f"{number(after)}\n({gain:+.3f})"
