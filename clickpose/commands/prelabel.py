"""``clickpose prelabel``: label a folder or bucket of images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clickpose.commands.output import JsonFile, write_json


def prelabel(
    images: Annotated[str, typer.Argument(help="Folder, pattern, or text file of paths or URIs.")],
    out: Annotated[str, typer.Argument(help="Folder or URI of the pre-labels.")],
    model: Annotated[str, typer.Option(help="Model folder, by path or URI.")],
    shard_size: Annotated[int, typer.Option(help="Images per output shard; a crash loses at most one shard.")] = 64,
    workers: Annotated[
        int | None, typer.Option(help="Ray actors; 0 for this process; by default as many as fit.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Label every image once, or list the reason why not; run it again to resume."""
    from pipeline.prelabel import prelabel as label

    summary = label(images, out, model, shard_size=shard_size, num_workers=workers)
    kept = f", {summary.num_kept} were labelled before" if summary.num_kept else ""
    typer.echo(
        f"{summary.num_labelled} of {summary.num_pictures} images labelled by {summary.model_version} "
        f"in {summary.seconds:.0f} s{kept}, {summary.num_failed} failed: {summary.out}"
    )
    write_json(json, asdict(summary))
