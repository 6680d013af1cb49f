"""``clickpose evaluate``: how good a model is, and what its answers cost in clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clickpose.commands.output import JsonFile, write_json


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    data: Annotated[Path, typer.Argument(help="COCO keypoint file.")],
    images: Annotated[Path, typer.Option(help="Folder of its pictures.")],
    plots: Annotated[Path | None, typer.Option(help="Folder for the click curve and the click bars.")] = None,
    json: JsonFile = None,
) -> None:
    """Measure AP, AP at n clicks, number of clicks, harm and drift on annotated pictures."""
    from clickpose.annotations import convert_set
    from clickpose.evaluation import evaluate as measure
    from clickpose.evaluation.plots import click_bars, click_curve
    from clickpose.predictor import Predictor
    from integrations.coco import read_coco
    from pipeline.dataset import PictureFolder
    from pipeline.progress import progress

    predictor = Predictor.load(model)
    annotations = convert_set(read_coco(data), predictor.skeleton)
    with progress(f"evaluating {predictor.version}", len(annotations)) as advance:
        metrics = measure(predictor, annotations, PictureFolder(str(images)), progress=lambda done, total: advance(1))
    table = Table("measure", "value", title=f"{predictor.version} on {data.name}")
    for name, value in metrics.items():
        table.add_row(name, "-" if value is None else f"{value:.4g}")
    Console().print(table)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        click_curve({predictor.version: metrics}).savefig(plots / "click-curve.png")
        click_bars({predictor.version: metrics}).savefig(plots / "clicks.png")
    write_json(json, metrics)
