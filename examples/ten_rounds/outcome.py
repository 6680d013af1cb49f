"""What came of ten rounds: checked, counted and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clickpose.annotations import AnnotatedImage
from examples.rounds import draw_clicks, tell_clicks
from examples.ten_rounds.team import POISONED, PoisonedTeam
from examples.ten_rounds.troubles import DISK_FULL, KILLED, LOST_WEBHOOKS
from pipeline.registry import Registry
from pipeline.round_report import RoundReport, all_reports
from pipeline.set_aside import find_set_aside
from pipeline.snapshot import current_snapshot, load_snapshot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVENTS = {
    KILLED: "killed while\nit trained",
    POISONED: "20 images\nswapped",
    DISK_FULL: "disk full",
} | dict.fromkeys(LOST_WEBHOOKS, "webhooks\nlost")


def tell(team: PoisonedTeam) -> str:
    """Return what came of the rounds played so far."""
    store = team.store
    reports, kept = all_reports(store), load_snapshot(store, str(current_snapshot(store))).annotations
    poison = {image.file_name for image in team.poison()} if len(reports) >= POISONED else set()
    named = {entry.file_name for entry in find_set_aside(store, kept)}
    submitted = [image for number in range(1, len(reports) + 1) for image in team.batch(number)]
    in_snapshot = {image.file_name: image for image in kept.images}
    found = [in_snapshot[image.file_name] for image in submitted if image.file_name in in_snapshot]
    return "\n".join(
        [
            tell_clicks(team),
            f"serving {Registry(store).current()}; the last one promoted is {last_promoted(reports)}",
            f"images with swapped sides: {len(poison)}, named: {len(poison & named)}, others named:"
            f" {len(named - poison)}",
            f"submitted: {len(submitted)} images with {num_keypoints(submitted)} keypoints;"
            f" in the last snapshot: {len(found)} with {num_keypoints(found)}",
        ]
    )


def last_promoted(reports: Sequence[RoundReport]) -> str | None:
    """Return the version that was promoted last, or None."""
    promoted = [report.challenger for report in reports if report.promoted]
    return promoted[-1] if promoted else None


def num_keypoints(images: Iterable[AnnotatedImage]) -> int:
    """Count labelled keypoints."""
    return sum(int((person.visibility > 0).sum()) for image in images for person in image.persons)


def draw(team: PoisonedTeam) -> Figure:
    """Draw clicks per person over rounds, and what went wrong."""
    figure, axes = draw_clicks(team)
    top = axes.get_ylim()[1]
    for number, event in EVENTS.items():
        if number <= len(all_reports(team.store)):
            axes.axvline(number, color="tab:red", linewidth=0.8, linestyle=":")
            axes.text(number, top, event, color="tab:red", fontsize=8, ha="center", va="bottom")
    return figure
