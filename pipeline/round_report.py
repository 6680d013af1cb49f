"""What a round of retraining leaves behind: numbers for machines, a page and two figures for people.

reports/<round>/report.json · report.md · curve.png · clicks.png
reports/current                                                   (pointer to the latest round)
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

from clickpose.evaluation.plots import click_bars, click_curve
from pipeline.compare import GOAL, Metrics
from pipeline.store import Store

REPORTS, CURRENT = "reports", "reports/current"
SHOWN = (
    "AP",
    "AP@C1",
    "AP@C4",
    f"clicks@{GOAL}",
    f"manual_clicks@{GOAL}",
    f"num_failed@{GOAL}",
    f"num_spurious@{GOAL}",
)


@dataclass(frozen=True)
class RoundReport:
    """How a round of retraining ended.

    Attributes:
        round: its name.
        parent: the champion that the challenger was fine-tuned from.
        challenger: the new model's version; None where nothing was trained.
        snapshot: the data set.
        promoted: whether the challenger is the current model now.
        reason: why, in one sentence.
        parent_metrics: the champion on the held-back pictures.
        challenger_metrics: the challenger on the same pictures.
        num_trained: pictures trained on.
        num_held_back: pictures compared on.
        finished_at: ISO 8601 time in UTC.
    """

    round: str
    parent: str
    challenger: str | None
    snapshot: str
    promoted: bool
    reason: str
    parent_metrics: Metrics
    challenger_metrics: Metrics
    num_trained: int
    num_held_back: int
    finished_at: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return the page for people."""
        rows = [
            f"| {name} | {_number(self.parent_metrics.get(name))} | {_number(self.challenger_metrics.get(name))} |"
            for name in SHOWN
        ]
        verdict = "promoted" if self.promoted else "not promoted"
        return "\n".join(
            [
                f"# Round {self.round}",
                "",
                f"**{self.challenger} was {verdict}**: {self.reason}.",
                "",
                f"Fine-tuned from {self.parent} on {self.num_trained} pictures of {self.snapshot}, compared on"
                f" {self.num_held_back} held-back ones. Finished {self.finished_at}.",
                "",
                f"| | {self.parent} | {self.challenger} |",
                "|---|---|---|",
                *rows,
                "",
            ]
        )


def write_report(store: Store, report: RoundReport) -> None:
    """Write a round's report and make it the latest."""
    folder = f"{REPORTS}/{report.round}"
    models = {report.parent: report.parent_metrics, str(report.challenger): report.challenger_metrics}
    for name, draw in (("curve.png", click_curve), ("clicks.png", click_bars)):
        picture = io.BytesIO()
        draw(models).savefig(picture, format="png")
        store.write_bytes(f"{folder}/{name}", picture.getvalue())
    store.write_bytes(f"{folder}/report.md", report.to_markdown().encode())
    store.write_json(f"{folder}/report.json", report.to_dict())
    store.write_pointer(CURRENT, report.round)


def latest_report(store: Store) -> RoundReport | None:
    """Return the report of the latest round that was finished, or None before the first."""
    latest = store.read_pointer(CURRENT)
    return RoundReport(**store.read_json(f"{REPORTS}/{latest}/report.json")) if latest else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
