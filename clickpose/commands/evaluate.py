"""``clickpose evaluate``: how good a model is, and what its answers cost in clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import InvalidAnnotation, InvalidConfig

if TYPE_CHECKING:
    from clickpose.annotations import AnnotationSet
    from clickpose.evaluation import RecordedResults, Simulation
    from clickpose.evaluation.overlays import Overlay
    from clickpose.evaluation.report import Metrics
    from clickpose.skeleton import Skeleton
    from integrations.label_studio.times import AnnotationTimes
    from pipeline.dataset import PictureFolder

PUBLISHED = "farthest keypoint first in rounds, as published, worst first in clicks a person"
OVERLAYS = 6


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    data: Annotated[Path, typer.Argument(help="COCO keypoint file.")],
    images: Annotated[Path, typer.Option(help="Folder of its pictures.")],
    keypoints: Annotated[
        str | None, typer.Option(help="Score and click only these keypoints of the model: 1-17, or names with commas.")
    ] = None,
    max_clicks: Annotated[int, typer.Option(help="Clicks on each person in the curve of AP.", min=0)] = 4,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="Which keypoint is clicked: worst, farthest, random or low-score; several to compare them. Without,"
            " farthest in rounds, as published, and worst in clicks a person."
        ),
    ] = None,
    loop: Annotated[str, typer.Option(help="Rounds: progressive, or at-once (n clicks, one answer).")] = "progressive",
    hold: Annotated[str, typer.Option(help="Clicks that no answer moves: all, current (the last), or none.")] = "all",
    noise: Annotated[float, typer.Option(help="Spread of the clicks; 1 is that of COCO's own annotators.")] = 0.0,
    results: Annotated[
        list[Path] | None, typer.Option(help="COCO results of another model, to be corrected by hand for comparison.")
    ] = None,
    label_studio_export: Annotated[
        Path | None, typer.Option(help="JSON export of Label Studio: seconds a person and a click.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad/--strict", help="Leave bad records and images out and log each, or end at one.")
    ] = True,
    plots: Annotated[Path | None, typer.Option(help="Folder for click curve, bars, and pictures of clicks.")] = None,
    json: JsonFile = None,
) -> None:
    """Measure AP, AP at n clicks, number of clicks, harm and drift on annotated pictures."""
    from clickpose.evaluation import evaluate_all
    from clickpose.evaluation.overlays import OverlayMeter, choose_images
    from clickpose.predictor import Predictor
    from integrations.coco import read_coco
    from integrations.label_studio.times import read_times
    from pipeline.dataset import PictureFolder, fit_records
    from pipeline.progress import progress

    simulations = _simulations(strategy or [], max_clicks, {"loop": loop, "hold": hold, "noise": noise})
    predictor = Predictor.load(model)
    truth = read_coco(data, skip_bad=skip_bad)
    annotations = _convert(truth, predictor.skeleton, data, keypoints)
    others = _read_others(results or [], truth, data, predictor.skeleton)
    times = read_times(label_studio_export, predictor.skeleton) if label_studio_export else []

    pictures = PictureFolder(str(images))
    fitted = fit_records(annotations, pictures, skip_bad=skip_bad)
    usable = {image.id for image in fitted.images}
    annotations = replace(annotations, images=tuple(image for image in annotations.images if image.id in usable))
    rounds = next(iter(simulations.values())).rounds
    overlays = OverlayMeter(predictor, choose_images(fitted, OVERLAYS if plots else 0), max_clicks, rounds)
    with progress(f"evaluating {predictor.version}", len(annotations)) as advance:
        ours = evaluate_all(
            predictor, fitted, pictures, simulations, meters=[overlays], progress=lambda done, total: advance(1)
        )
    theirs = {
        name: evaluate_all(other, annotations, lambda image: image, simulations) for name, other in others.items()
    }

    title = f"{predictor.version} on {data.name}" + (f", keypoints {keypoints}" if keypoints else "")
    _print_tables(title, ours, theirs, times, f"Rounds {loop}, hold {hold}, noise {noise:g}")
    if plots:
        _write_figures(plots, predictor.version, ours, theirs)
        _write_overlays(plots, overlays.overlays, pictures, predictor.skeleton)
    which = {"model": predictor.version, "data": data.name, "keypoints": keypoints}
    settings = {**which, "loop": loop, "hold": hold, "noise": noise}
    write_json(json, _document(settings, ours, theirs, times))


def _simulations(strategies: Sequence[str], max_clicks: int, style: Mapping[str, Any]) -> dict[str, Simulation]:
    """Return one simulation for each strategy, or the published one."""
    from clickpose.evaluation import Simulation

    default = Simulation(max_clicks=max_clicks).styled(**style)
    return {name: default.styled(strategy=name) for name in strategies} or {PUBLISHED: default}


def _convert(truth: AnnotationSet, skeleton: Skeleton, data: Path, keypoints: str | None) -> AnnotationSet:
    from clickpose.annotations import convert_set, only_keypoints

    annotations = convert_set(truth, skeleton)
    if keypoints is not None:
        annotations = only_keypoints(annotations, skeleton.select(keypoints))
    if truth.num_persons and not annotations.num_persons:
        which = f"keypoint {keypoints}" if keypoints else "keypoint"
        raise InvalidAnnotation(f"{data}: no person has a {which} of the model's skeleton {skeleton.name!r}")
    return annotations


def _read_others(
    files: Sequence[Path], truth: AnnotationSet, data: Path, skeleton: Skeleton
) -> dict[str, RecordedResults]:
    """Read the results of other models, in the keypoints of ours, by file name."""
    from clickpose.evaluation import RecordedResults, convert_poses
    from integrations.coco import person_category
    from integrations.coco_results import read_results

    others: dict[str, RecordedResults] = {}
    for path in files:
        if path.stem in others:
            raise InvalidConfig(f"two results files are called {path.stem!r}: rename one, so that tables can tell them")
        found = read_results(path, truth, person_category(data))
        poses = convert_poses(found, truth.skeleton, skeleton)
        others[path.stem] = RecordedResults(skeleton, poses)
    return others


def _print_tables(
    title: str,
    ours: Mapping[str, Metrics],
    theirs: Mapping[str, Mapping[str, Metrics]],
    times: Sequence[AnnotationTimes],
    clicks: str,
) -> None:
    from rich.console import Console

    from clickpose.commands import evaluation_tables as tables

    console = Console()
    console.print(tables.accuracy(title, ours, theirs))
    console.print(f"Clicks: {'; '.join(ours)}. {clicks}.", highlight=False)
    console.print(tables.after_clicks(ours, theirs))
    if any("gain_by_loop@C1" in metrics for metrics in ours.values()):
        console.print(tables.gains(ours))
    console.print(tables.number_of_clicks(ours, theirs))
    console.print(tables.costs(ours))
    if times:
        console.print(tables.seconds(times))


def _write_figures(
    folder: Path, version: str, ours: Mapping[str, Metrics], theirs: Mapping[str, Mapping[str, Metrics]]
) -> None:
    from clickpose.evaluation.plots import click_bars, click_curve

    metrics = name_curves(version, ours, theirs)
    folder.mkdir(parents=True, exist_ok=True)
    click_curve(metrics).savefig(folder / "click-curve.png", dpi=150)
    click_bars(metrics).savefig(folder / "clicks.png", dpi=150)


def name_curves(
    version: str, ours: Mapping[str, Metrics], theirs: Mapping[str, Mapping[str, Metrics]]
) -> dict[str, Metrics]:
    """Return what figures show, by label: every strategy of ours, and of other models the first."""
    first, alone = next(iter(ours)), len(ours) == 1
    other = {f"{name}, by hand" + ("" if alone else f", {first}"): metrics[first] for name, metrics in theirs.items()}
    return ({version: ours[first]} if alone else dict(ours)) | other


def _write_overlays(folder: Path, overlays: Sequence[Overlay], pictures: PictureFolder, skeleton: Skeleton) -> None:
    for overlay in overlays:
        name = f"{Path(overlay.image.file_name).stem}-clicks.jpg"
        overlay.draw(pictures(overlay.image), skeleton).save(folder / name, quality=90)


def _document(
    settings: Mapping[str, Any],
    ours: Mapping[str, Metrics],
    theirs: Mapping[str, Mapping[str, Metrics]],
    times: Sequence[AnnotationTimes],
) -> dict[str, Any]:
    """Return every number: the first strategy's by plain keys, those of more strategies and models below them."""
    first = next(iter(ours))
    document: dict[str, Any] = {
        **ours[first],
        "settings": {**settings, "strategies": [] if PUBLISHED in ours else list(ours)},
    }
    if len(ours) > 1:
        document["strategies"] = ours
    if theirs:
        document["results"] = {name: other[first] if len(ours) == 1 else other for name, other in theirs.items()}
    if times:
        document["label_studio"] = [one.to_dict() for one in times]
    return document
