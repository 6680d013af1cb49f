"""How a store's model improved, round by round: as text, and as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.compare import ImageClicks
from pipeline.round_report import RoundReport, all_reports
from pipeline.snapshot import read_manifest
from pipeline.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLICKS = "clicks per person"
NUM_WORST = 10


@dataclass(frozen=True)
class RoundLine:
    """One round in the report; None where nothing was measured.

    Attributes:
        round: its report.
        champion: clicks per person with the model that was current, on what was compared on.
        challenger: the same with the new model.
        images: annotated so far.
        hours: spent annotating so far.
        corrected: share in [0, 1] of all keypoints so far that an annotator placed or moved.
        drift: clicks per person of the champion on images new in the round, minus those on the others.
    """

    round: RoundReport
    champion: float | None
    challenger: float | None
    images: int
    hours: float
    corrected: float | None
    drift: float | None


def progress_lines(store: Store) -> list[RoundLine]:
    """Return a line for every round that was finished, oldest first."""
    return [_line(store, report) for report in all_reports(store)]


def worst_images(report: RoundReport, count: int = NUM_WORST) -> list[ImageClicks]:
    """Return the images that cost the most clicks per person with the model that the round left current."""

    def cost(one: ImageClicks) -> float:
        return (one.challenger if report.promoted else one.champion) / one.num_persons

    return sorted((one for one in report.by_image if one.num_persons), key=cost, reverse=True)[:count]


def to_text(lines: Sequence[RoundLine]) -> str:
    """Return the report for people."""
    if not lines:
        return "no round has finished yet\n"
    rows = [
        f"| {line.round.finished_at} | {line.round.challenger} | {'yes' if line.round.promoted else 'no'} |"
        f" {_number(line.champion)} | {_number(line.challenger)} | {line.images} | {line.hours:.1f} |"
        f" {_percent(line.corrected)} | {_number(line.drift)} |"
        for line in lines
    ]
    last = lines[-1].round
    worst = [
        f"- {one.file_name}: {one.champion / one.num_persons:.1f} clicks per person with {last.parent},"
        f" {one.challenger / one.num_persons:.1f} with {last.challenger}"
        for one in worst_images(last)
    ]
    names = "finished", "challenger", "promoted", "clicks before", "after", "images", "hours", "corrected", "drift"
    head = f"| {' | '.join(names)} |"
    return "\n".join([head, "|---" * 9 + "|", *rows, "", f"Worst images of the last round, {last.round}:", *worst, ""])


def draw_progress(lines: Sequence[RoundLine]) -> Figure:
    """Draw clicks per person over rounds, and the effort of annotators below."""
    from matplotlib.figure import Figure

    figure = Figure((8, 6), layout="constrained")
    clicks, effort = figure.subplots(2, sharex=True)
    rounds = range(1, len(lines) + 1)
    for label, style, values in (
        ("champion", "o-", [line.champion for line in lines]),
        ("challenger", "x--", [line.challenger for line in lines]),
    ):
        clicks.plot(rounds, [float("nan") if value is None else value for value in values], style, label=label)
    for number, line in zip(rounds, lines, strict=True):
        if line.round.promoted and line.challenger is not None:
            clicks.annotate("promoted", (number, line.challenger), textcoords="offset points", xytext=(0, -14))
    clicks.set_ylabel(CLICKS)
    clicks.legend()
    effort.bar(rounds, [line.hours for line in lines])
    effort.set_ylabel("hours of annotating so far")
    effort.set_xlabel("round")
    effort.set_xticks(list(rounds))
    return figure


def _line(store: Store, report: RoundReport) -> RoundLine:
    manifest = read_manifest(store, report.snapshot)
    sources = manifest["keypoints_by_source"]
    corrected = sum(sources.get(name, 0) for name in ("placed", "moved"))
    newest = [one for one in report.by_image if one.file_name in report.newest]
    others = [one for one in report.by_image if one.file_name not in report.newest]
    drift = (_champion_clicks(newest), _champion_clicks(others))
    saving = next((check for check in report.checks if check.name == CLICKS), None)
    return RoundLine(
        round=report,
        champion=saving.champion if saving else report.parent_metrics.get("clicks@90"),
        challenger=saving.challenger if saving else report.challenger_metrics.get("clicks@90"),
        images=manifest["images"],
        hours=manifest["lead_time_s"] / 3600,
        corrected=corrected / sum(sources.values()) if sources else None,
        drift=None if drift[0] is None or drift[1] is None else drift[0] - drift[1],
    )


def _champion_clicks(images: Sequence[ImageClicks]) -> float | None:
    num_persons = sum(one.num_persons for one in images)
    return sum(one.champion for one in images) / num_persons if num_persons else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
