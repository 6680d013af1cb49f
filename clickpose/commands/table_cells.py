"""What tables of metrics have in common: headings, rows, and how a number is shown.

``Ours`` are the metrics of our model by click strategy, ``Theirs`` those of other models by name and strategy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from rich.table import Table

from clickpose.evaluation.metric_names import Metrics

Ours: TypeAlias = Mapping[str, Metrics]
Theirs: TypeAlias = Mapping[str, Mapping[str, Metrics]]

FIRST = "/first_scores"


def new_table(title: str, first: str, *columns: str) -> Table:
    """Return a table with a first column of labels, and others of numbers."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column(first, overflow="fold")  # a long name takes lines; numbers are never cut
    for column in columns:
        table.add_column(column, justify="right")
    return table


def add_heading(table: Table, strategy: str, ours: Ours) -> None:
    """Name the strategy above its rows, if there are several."""
    if len(ours) > 1:
        table.add_section()
        table.add_row(f"[bold]{strategy}[/bold]")


def add_row(table: Table, label: str, goals: Iterable[int], metrics: Metrics, key: str) -> None:
    """Add a row with a number for each goal, which stands in for {} in ``key``."""
    table.add_row(label, *(short(get(metrics, key.format(goal))) for goal in goals))


def of_first(by_strategy: Mapping[str, Metrics]) -> Metrics:
    """Return the metrics of the first strategy."""
    return next(iter(by_strategy.values()))


def counts(metrics: Metrics, pattern: str) -> list[int]:
    """Return the numbers in the keys that match as a whole."""
    return [int(match[1]) for match in (re.fullmatch(pattern, name) for name in metrics) if match]


def get(metrics: Metrics, key: str) -> float | None:
    """Return a number; those with the scores of the first pass exist only where they differ."""
    return metrics.get(key, metrics.get(key.removesuffix(FIRST)))


def plus(first: float | None, second: float | None, sign: int = 1) -> float | None:
    """Add two numbers, or subtract the second; None if one is unknown."""
    return None if first is None or second is None else first + sign * second


def numbers(metrics: Metrics, keys: Iterable[str]) -> list[str]:
    """Show several shares."""
    return [number(get(metrics, key)) for key in keys]


def number(value: float | None) -> str:
    """Show a share; COCO's -1 stands for nothing to count."""
    return "-" if value is None or value < 0 else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Show a difference."""
    return "-" if value is None else f"{value:+.3f}"


def short(value: float | None) -> str:
    """Show three digits."""
    return "-" if value is None else f"{value:.3g}"
