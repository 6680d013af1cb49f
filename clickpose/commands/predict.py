"""``clickpose predict``: skeletons of photos, as images and as COCO results, without a server."""

from __future__ import annotations

import json as jsons
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clickpose.commands.locations import readable_folder
from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import ImageError, InvalidConfig, StoreError

if TYPE_CHECKING:
    from clickpose.annotations import Pose

DEMO_MODEL = Path(__file__).parents[2] / "models" / "demo"
DRAWN, RESULTS = ".poses.jpg", ".poses.json"


def predict(
    photos: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; by default beside each image.")] = None,
    model: Annotated[Path, typer.Option(help="Model folder.", parser=readable_folder)] = DEMO_MODEL,
    json: JsonFile = None,
) -> None:
    """Find people and their keypoints; write each image with skeletons, and COCO results beside it."""
    from clickpose.evaluation.plots import draw_poses
    from clickpose.images import read_image
    from clickpose.predictor import Predictor
    from integrations.coco import results_to_coco

    predictor, records, failed = Predictor.load(model), [], 0
    for number, (photo, target) in enumerate(_targets(photos, out), start=1):
        try:
            image = read_image(photo)
            poses: Sequence[Pose] = predictor.detect(predictor.encode(image))
            found = [{**record, "file_name": str(photo)} for record in results_to_coco({number: poses})]
            _write(target, draw_poses(image, poses, predictor.skeleton), found)
        except (ImageError, StoreError) as error:
            typer.echo(f"left out: {error}")
            failed += 1
            continue
        typer.echo(f"{photo}: {len(poses)} {'person' if len(poses) == 1 else 'persons'}, drawn in {target}{DRAWN}")
        records += found
    write_json(json, {"model": str(model), "failed": failed, "results": records})
    if failed:
        raise typer.Exit(1)


def _targets(photos: Sequence[Path], out: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield every image, and the path of its results without suffix; earlier results are not images.

    Raises:
        InvalidConfig: an image or folder does not exist, or two images would be written to the same file.
        ImageError: a folder has no images.
    """
    from pipeline.listing import find_images

    taken: dict[Path, Path] = {}
    for source in photos:
        if not source.exists():
            raise InvalidConfig(f"{source} does not exist")
        folder = source if source.is_dir() else source.parent
        for name in find_images(source) if source.is_dir() else [str(source)]:
            photo = Path(name)
            if source.is_dir() and name.endswith(DRAWN):
                continue
            below = photo.relative_to(folder.absolute() if photo.is_absolute() else folder).with_suffix("")
            target = (out or folder) / below
            if taken.setdefault(target, photo) != photo:
                raise InvalidConfig(f"{photo} and {taken[target]} would both be written to {target}{DRAWN}: rename one")
            yield photo, target


def _write(target: Path, drawn: Any, found: list[dict[str, Any]]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(f"{target}{DRAWN}", quality=90)
        Path(f"{target}{RESULTS}").write_text(jsons.dumps(found) + "\n")
    except OSError as error:
        raise StoreError(f"the results of {target} cannot be written: {error.strerror}") from error
