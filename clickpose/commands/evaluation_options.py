"""The options of ``clickpose evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clickpose.commands.locations import readable_file
from clickpose.commands.output import JsonFile
from clickpose.commands.workers import GpusPerWorker


@dataclass(frozen=True)
class EvaluateOptions:
    """What is evaluated, and how."""

    model: Annotated[str, typer.Argument(help="Model folder, or its URI.")]
    data: Annotated[Path, typer.Argument(help="COCO keypoint file.", parser=readable_file)]
    images: Annotated[str, typer.Option(help="Folder of its images.")]
    category: Annotated[
        str | None, typer.Option(help="Category of DATA to read, if several have keypoints of their own.")
    ] = None
    keypoints: Annotated[
        str | None, typer.Option(help="Score and click only these keypoints of the model: 1-17, or names with commas.")
    ] = None
    click_keypoints: Annotated[
        str | None, typer.Option(help="Click only these keypoints; all are scored, as in table 12 of the paper.")
    ] = None
    score_keypoints: Annotated[
        list[str] | None, typer.Option(help="Score AP after clicks on these keypoints alone, too; may be repeated.")
    ] = None
    max_clicks: Annotated[int, typer.Option(help="Clicks on each person in the curve of AP.", min=0)] = 4
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="Which keypoint is clicked: worst, farthest, random, low-score or all; may be repeated. Default:"
            " farthest in rounds, as published, and worst in clicks per person."
        ),
    ] = None
    loop: Annotated[
        list[str] | None,
        typer.Option(
            help="Rounds: progressive (the default), at-once (n clicks, one answer), or all; may be repeated."
        ),
    ] = None
    hold: Annotated[str, typer.Option(help="Clicks that no answer moves: all, current (the last), or none.")] = "all"
    noise: Annotated[float, typer.Option(help="Spread of the clicks; 1 is that of COCO's own annotators.")] = 0.0
    disturb: Annotated[
        bool, typer.Option("--disturb", help="Also show how much wrong input the pose layers repair (section 3.1).")
    ] = False
    results: Annotated[
        list[Path] | None,
        typer.Option(help="COCO results of another model, corrected by hand, for comparison.", parser=readable_file),
    ] = None
    start_from: Annotated[
        list[Path] | None,
        typer.Option(
            help="COCO results of another model: its poses are the first guesses, and our loop refines them.",
            parser=readable_file,
        ),
    ] = None
    add: Annotated[
        str, typer.Option(help="How a missed person is added: box (2 clicks), or click (1, on a keypoint).")
    ] = "box"
    label_studio_export: Annotated[
        Path | None,
        typer.Option(help="JSON export of Label Studio: seconds per person and per click.", parser=readable_file),
    ] = None
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad/--strict", help="Skip and log bad records and images, or stop at the first one."),
    ] = True
    limit: Annotated[int | None, typer.Option(help="Evaluate only the first images of DATA.", min=1)] = None
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto for a GPU if there is one.")] = "auto"
    workers: Annotated[int, typer.Option(help="Ray workers that share the images; 0 for this process.", min=0)] = 0
    gpus_per_worker: GpusPerWorker = None
    plots: Annotated[str | None, typer.Option(help="Folder for click curve, bars, and images with clicks.")] = None
    json: JsonFile = None
