"""The report of a round of retraining: a JSON file, a page in Markdown, and two figures.

reports/<round>/report.json · report.md · curve.png · clicks.png
reports/current                                                   (pointer to the latest round)
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clickpose.evaluation.metric_names import Metrics
from clickpose.evaluation.plots import click_bars, click_curve
from pipeline.compare import GOAL, ImageClicks
from pipeline.gate import Check, GateRule
from pipeline.set_aside import SetAside
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
        parent_metrics: the champion on the held-back images.
        challenger_metrics: the challenger on the same images.
        num_trained: images trained on.
        num_held_back: images compared on.
        finished_at: ISO 8601 time in UTC.
        num_gold: images among them whose labels are trusted.
        rule: what was required of the challenger.
        checks: each requirement, with the values measured.
        images: the folder of the images; empty in reports of earlier versions.
        set_aside: annotations that look wrong and were not used.
        left_out: a sentence for each task, region or image that could not be read.
        by_image: clicks on each image that was compared on.
        newest: file names of those that were new in this round.
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
    num_gold: int = 0
    rule: GateRule | None = None
    checks: tuple[Check, ...] = ()
    images: str = ""
    set_aside: tuple[SetAside, ...] = ()
    left_out: tuple[str, ...] = ()
    by_image: tuple[ImageClicks, ...] = ()
    newest: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RoundReport:
        """Read what ``to_dict`` gave; a report of an earlier version has no rule and no checks."""
        rule = GateRule(**values["rule"]) if values.get("rule") else None
        checks = tuple(Check(**check) for check in values.get("checks", ()))
        set_aside = tuple(SetAside(**entry) for entry in values.get("set_aside", ()))
        by_image = tuple(ImageClicks(**one) for one in values.get("by_image", ()))
        newest, left_out = tuple(values.get("newest", ())), tuple(values.get("left_out", ()))
        known = {**values, "rule": rule, "checks": checks, "set_aside": set_aside}
        return cls(**{**known, "by_image": by_image, "newest": newest, "left_out": left_out})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return the report as Markdown."""
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
                f"Fine-tuned from {self.parent} on {self.num_trained} images of {self.snapshot}, compared on"
                f" {self.num_held_back} held-back ones, {self.num_gold} of them gold. Finished {self.finished_at}.",
                "",
                f"| | {self.parent} | {self.challenger} |",
                "|---|---|---|",
                *rows,
                "",
                *self._gate(),
                *self._set_aside(),
                *self._left_out(),
            ]
        )

    def _gate(self) -> list[str]:
        """Return the lines about the rule and its checks."""
        if self.rule is None or not self.checks:
            return []
        rows = [
            f"| {check.name} | {_number(check.champion)} | {_number(check.challenger)} | {check.chance_better:.1%} |"
            f" {check.chance_worse:.1%} | {'yes' if check.passed else '**no**'} |"
            for check in self.checks
        ]
        return [
            "## The rule",
            "",
            f"{self.rule.in_words()} Less is better in every row.",
            "",
            f"| | {self.parent} | {self.challenger} | chance better | chance worse | passed |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]

    def _set_aside(self) -> list[str]:
        """Return the lines about annotations that were not used."""
        if not self.set_aside:
            return []
        rows = [f"| {one.annotation} | {one.file_name} | {one.user} | {one.reason} |" for one in self.set_aside]
        return [
            f"## {len(self.set_aside)} annotations set aside",
            "",
            "They look wrong, and were not used. To use one anyway: `clickpose retrain --accept ID`.",
            "",
            "| id | image | annotator | reason |",
            "|---|---|---|---|",
            *rows,
            "",
        ]

    def _left_out(self) -> list[str]:
        """Return the lines about what could not be read."""
        if not self.left_out:
            return []
        return [f"## {len(self.left_out)} findings left out", "", *(f"- {sentence}" for sentence in self.left_out), ""]


def write_report(store: Store, report: RoundReport) -> None:
    """Write a round's report and make it the latest."""
    folder = f"{REPORTS}/{report.round}"
    models = {report.parent: report.parent_metrics, str(report.challenger): report.challenger_metrics}
    for name, draw in (("curve.png", click_curve), ("clicks.png", click_bars)):
        figure = io.BytesIO()
        draw(models).savefig(figure, format="png")
        store.write_bytes(f"{folder}/{name}", figure.getvalue())
    store.write_bytes(f"{folder}/report.md", report.to_markdown().encode())
    store.write_json(f"{folder}/report.json", report.to_dict())
    store.write_pointer(CURRENT, report.round)


def all_reports(store: Store) -> list[RoundReport]:
    """Return the reports of all rounds that were finished, oldest first."""
    files = [f"{REPORTS}/{name}/report.json" for name in store.folders(REPORTS)]
    reports = [RoundReport.from_dict(store.read_json(file)) for file in files if store.exists(file)]
    return sorted(reports, key=lambda report: (report.finished_at, report.challenger or ""))


def reports_by_challenger(store: Store) -> dict[str, RoundReport]:
    """Return the report of every round that trained a model, by the model's version."""
    return {report.challenger: report for report in all_reports(store) if report.challenger}


def latest_report(store: Store) -> RoundReport | None:
    """Return the report of the latest round that was finished, or None before the first."""
    latest = store.read_pointer(CURRENT)
    return RoundReport.from_dict(store.read_json(f"{REPORTS}/{latest}/report.json")) if latest else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
