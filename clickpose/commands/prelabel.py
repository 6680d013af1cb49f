"""``clickpose prelabel``: label a folder or bucket of images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.commands.options import takes
from clickpose.commands.output import JsonFile, file_to_write, output_file, write_json
from clickpose.commands.workers import GpusPerWorker
from clickpose.errors import InvalidConfig

if TYPE_CHECKING:
    from pipeline.prelabel import PrelabelOptions


@dataclass(frozen=True)
class PrelabelCommand:
    """What is labelled, with what, and how."""

    images: Annotated[
        str,
        typer.Argument(help="Folder, pattern, or a file that lists images: text, CSV, JSON, JSON lines, Parquet."),
    ]
    out: Annotated[str, typer.Argument(help="Folder or URI of the pre-labels.")]
    model: Annotated[str, typer.Option(help="Model folder, by path or URI.")]
    shard_size: Annotated[
        int, typer.Option(help="Images per output shard; a crash loses at most one shard per worker.", min=1)
    ] = 64
    workers: Annotated[
        int | None, typer.Option(help="Ray actors, by default as many as fit; 0: this process.", min=0)
    ] = None
    gpus_per_worker: GpusPerWorker = None
    limit: Annotated[int | None, typer.Option(help="Images to label at most.", min=0)] = None
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try images that failed before and have not changed.")
    ] = False
    max_failed: Annotated[
        str, typer.Option(help="Share of images that may fail; stop, and exit with 1, when it is exceeded.")
    ] = "50%"
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the pre-labels in OUT first.")] = False
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Look at each image mirrored, too, for select --by flip; twice the time.")
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be done, and do nothing.")] = False
    coco: Annotated[str | None, output_file(help="Also write all pre-labels in OUT to this COCO file.")] = None
    json: JsonFile = None

    def options(self) -> PrelabelOptions:
        """Return how the run goes; InvalidConfig if a number is out of range."""
        from pipeline.prelabel import PrelabelOptions

        return PrelabelOptions(
            shard_size=self.shard_size,
            num_workers=self.workers,
            gpus_per_worker=self.gpus_per_worker,
            limit=self.limit,
            retry_failed=self.retry_failed,
            max_failed=read_share(self.max_failed),
            fresh=self.fresh,
            mirror=self.mirror,
        )


@takes(PrelabelCommand)
def prelabel(command: PrelabelCommand) -> None:
    """Label every image once, or list it with the reason; run again to label only what is missing.

    OUT gets Parquet data sets of persons and images that any tool reads: see docs/prelabelling.md.
    """
    from pipeline.prelabel import count_missing
    from pipeline.prelabel import prelabel as label

    run = count_missing if command.dry_run else label
    summary = run(command.images, command.out, command.model, command.options())
    typer.echo(summary.forecast(command.limit) if command.dry_run else summary.sentence())
    if command.coco and not command.dry_run:
        write_coco_file(command.out, command.model, command.coco)
    write_json(command.json, asdict(summary))


def write_coco_file(prelabels: str, model: str, out: str) -> None:
    """Write a folder of pre-labels by a model as one COCO file."""
    from integrations.coco_predictions import write_predictions
    from pipeline.labelling_model import describe_model
    from pipeline.shards import read_prelabels

    images = ((found.image.name, found.size_wh, found.poses) for found in read_prelabels(prelabels))
    with file_to_write(out) as path:
        write_predictions(images, describe_model(model).skeleton, path)


def read_share(text: str) -> float:
    """Read a share such as ``5%`` or ``0.05``.

    Raises:
        InvalidConfig: it is neither.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidConfig(f"{text!r} is not a share between 0% and 100%: write it as 5% or 0.05")
    return share
