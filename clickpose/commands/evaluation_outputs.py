"""What ``clickpose evaluate`` shows and writes: tables, figures, images with clicks, and one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from clickpose.commands import evaluation_tables as tables
from clickpose.commands.paper_tables import model_and_manual, side_by_side
from clickpose.commands.table_cells import of_first
from clickpose.evaluation.metric_names import Metrics
from clickpose.evaluation.overlays import Overlay
from clickpose.evaluation.plots import click_bars, click_curve, sensitivity_curve, time_bars
from clickpose.evaluation.sensitivity import Sensitivity
from clickpose.skeleton import Skeleton
from integrations.label_studio.times import AnnotationTimes
from pipeline.dataset import ImageFolder

PUBLISHED_STRATEGIES = "farthest keypoint first in rounds, as published, worst first in clicks per person"
WIDTH_IN_FILES = 160  # columns; rich cuts numbers to fit 80, which a file or a pipe has


@dataclass(frozen=True)
class EvaluationResult:
    """Everything that an evaluation found.

    Attributes:
        ours: metrics of the model by strategy.
        theirs: the same of other models' results, by name and strategy.
        refined: the same of our loop on their first guesses, as ``from NAME``.
        times: seconds that annotators took.
        overlays: images before and after clicks.
        seconds: that the evaluation of our model took, by call.
        sensitivity: what the pose layers make of disturbed persons.
    """

    ours: Mapping[str, Metrics]
    theirs: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)
    refined: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)
    times: Sequence[AnnotationTimes] = ()
    overlays: Sequence[Overlay] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    sensitivity: Sequence[Sensitivity] = ()


def print_tables(title: str, measured: EvaluationResult, clicks: str) -> None:
    """Print every table; ``clicks`` says how the annotator clicks."""
    console, ours, theirs, refined = Console(), measured.ours, measured.theirs, measured.refined
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_IN_FILES)
    console.print(tables.accuracy(title, ours, {**theirs, **refined}))
    console.print(f"Clicks: {'; '.join(ours)}. {clicks}.", highlight=False)
    console.print(tables.after_clicks(ours, theirs, refined))
    console.print(model_and_manual(ours, theirs, refined))
    if len(ours) > 1:
        console.print(side_by_side(ours))
    if tables.scored_alone(ours):
        console.print(tables.of_some_keypoints(ours))
    if any("gain_by_loop@C1" in metrics for metrics in ours.values()):
        console.print(tables.gains(ours))
    console.print(tables.number_of_clicks(ours, theirs, refined))
    console.print(tables.costs(ours))
    if measured.sensitivity:
        console.print(tables.sensitivity(measured.sensitivity))
    if measured.times:
        console.print(tables.seconds(measured.times))
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in measured.seconds.items())
    console.print(f"Took {sum(measured.seconds.values()):.0f} s: {parts} (matching, AP).", highlight=False)


def write_figures(folder: Path, version: str, measured: EvaluationResult) -> None:
    """Write the click curve, and bars of clicks and of the annotators' time."""
    metrics = name_curves(version, measured.ours, measured.theirs) | {
        name: of_first(by_strategy) for name, by_strategy in measured.refined.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    click_curve(metrics).savefig(folder / "click-curve.png", dpi=150)
    click_bars(metrics).savefig(folder / "clicks.png", dpi=150)
    if measured.sensitivity:
        sensitivity_curve(measured.sensitivity).savefig(folder / "disturbed.png", dpi=150)
    if seconds := name_times(measured.times):
        time_bars(seconds).savefig(folder / "seconds.png", dpi=150)


def name_times(times: Sequence[AnnotationTimes]) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of seconds per person: of each model, and of its annotators if several."""
    names = [f"{one.model_version or 'nothing'}{one.annotator and ', '}{one.annotator}" for one in times]
    return {
        name: (one.mean_s, one.deviation_s or 0.0)
        for name, one in zip(names, times, strict=True)
        if one.mean_s is not None
    }


def name_curves(
    version: str, ours: Mapping[str, Metrics], theirs: Mapping[str, Mapping[str, Metrics]]
) -> dict[str, Metrics]:
    """Return what figures show, by label: every strategy of ours, and of other models the first."""
    first, alone = next(iter(ours)), len(ours) == 1
    other = {f"{name}, by hand" + ("" if alone else f", {first}"): metrics[first] for name, metrics in theirs.items()}
    return ({version: ours[first]} if alone else dict(ours)) | other


def write_overlays(folder: Path, overlays: Sequence[Overlay], images: ImageFolder, skeleton: Skeleton) -> None:
    """Write images before and after clicks."""
    for overlay in overlays:
        name = f"{Path(overlay.image.file_name).with_suffix('').as_posix().replace('/', '_')}-clicks.jpg"
        overlay.draw(images(overlay.image), skeleton).save(folder / name, quality=90)


def document(settings: Mapping[str, Any], measured: EvaluationResult) -> dict[str, Any]:
    """Return every number: those of the first strategy at the top, those of other strategies and models below."""
    ours, theirs = measured.ours, {**measured.theirs, **measured.refined}
    first = next(iter(ours))
    found: dict[str, Any] = {
        **ours[first],
        "settings": {**settings, "strategies": [] if PUBLISHED_STRATEGIES in ours else list(ours)},
        "seconds": measured.seconds,
    }
    if len(ours) > 1:
        found["strategies"] = ours
    if theirs:
        found["results"] = {name: other[first] if len(ours) == 1 else other for name, other in theirs.items()}
    if measured.sensitivity:
        found["disturbed"] = [asdict(level) for level in measured.sensitivity]
    if measured.times:
        found["label_studio"] = [one.to_dict() for one in measured.times]
    return found
