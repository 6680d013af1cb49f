"""``clickpose convert``: published checkpoints and model folders."""

from __future__ import annotations

import enum
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import InvalidConfig, InvalidSkeleton

if TYPE_CHECKING:
    from clickpose.skeleton import Skeleton


class Entry(enum.StrEnum):
    """Weights that a published checkpoint may hold."""

    model = "model"
    ema_model = "ema_model"


def convert(
    file: Annotated[Path, typer.Argument(help="Published checkpoint (.pth); with --to-published, a model folder.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write; with --to-published, a .pth file.")],
    to_published: Annotated[
        bool, typer.Option("--to-published", help="Write a checkpoint from a model folder.")
    ] = False,
    weights: Annotated[
        Entry, typer.Option(help="Which weights: those of the published numbers, or their running average.")
    ] = Entry.model,
    skeleton: Annotated[
        str | None,
        typer.Option(
            help="Keypoints: coco17, crowdpose14, ... or a JSON file; default: the built-in one of that size."
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Turn a published checkpoint into a model folder, or, with --to-published, a model folder into a checkpoint.

    A checkpoint is a torch file with the weights under 'model' (and 'ema_model'), or of weights alone. It is read as
    values only: nothing in it is executed. All weights of the published ResNet-50 model must be there, for any number
    of keypoints; all problems are listed. Converting back gives the same weights, bit for bit.

    Every other command takes a model folder: clickpose evaluate, serve, prelabel, train --init.
    """
    if to_published:
        if skeleton:
            raise InvalidConfig("a checkpoint does not name its keypoints: leave out --skeleton")
        write_json(json, _to_checkpoint(file, out))
    else:
        write_json(json, _to_folder(file, out, weights, skeleton))


def _to_folder(file: Path, out: Path, entry: Entry, skeleton_name: str | None) -> dict[str, object]:
    from clickpose.checkpoints.model_folder import save_model
    from clickpose.checkpoints.published_file import build_network, read_checkpoint

    if file.is_dir():
        raise InvalidConfig(f"{file} is a folder; to write it as a checkpoint, add --to-published")
    if out.is_file():
        raise InvalidConfig(f"{out} is a file; a model is written as a folder")
    network = build_network(read_checkpoint(file, entry.value), str(file))
    skeleton = choose_skeleton(network.config.num_keypoints, skeleton_name)
    folder = save_model(out, network, skeleton, metrics={}, card=_card(file, entry, skeleton))
    typer.echo(f"wrote {folder}: {entry} of {file.name}, {len(skeleton)} keypoints of {skeleton.name}")
    return {"folder": str(folder), "weights": entry.value, "skeleton": skeleton.name, "keypoints": len(skeleton)}


def _to_checkpoint(folder: Path, out: Path) -> dict[str, object]:
    from clickpose.checkpoints.model_folder import load_model
    from clickpose.checkpoints.published_file import write_checkpoint

    if out.is_dir():
        raise InvalidConfig(f"{out} is a folder; a checkpoint is written as a file")
    model = load_model(folder)
    left_out = write_checkpoint(model.published_form(), out)
    typer.echo(f"wrote {out}; it does not say the names of its {len(model.skeleton)} keypoints")
    if left_out:
        typer.echo(f"nor these settings: {'; '.join(left_out)}")
    return {"file": str(out), "keypoints": len(model.skeleton), "settings left out": left_out}


def choose_skeleton(num_keypoints: int, name: str | None = None) -> Skeleton:
    """Return the skeleton of a name or file, or the only built-in one of that many keypoints.

    Raises:
        InvalidSkeleton: it has another number of keypoints, or there is none or more than one built in.
    """
    from clickpose.skeleton import Skeleton, built_in

    known = [Skeleton.load(one) for one in ([name] if name else built_in())]
    fitting = [skeleton for skeleton in known if len(skeleton) == num_keypoints]
    if len(fitting) == 1:
        return fitting[0]
    offered = ", ".join(f"{skeleton.name} has {len(skeleton)}" for skeleton in known)
    raise InvalidSkeleton(f"the model has {num_keypoints} keypoints; {offered}: say which with --skeleton NAME or FILE")


def _card(file: Path, entry: Entry, skeleton: Skeleton) -> str:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return (
        f"# Converted from {file.name}\n\n"
        f"- weights: `{entry}` of {file.name}, sha256 {digest}\n"
        f"- keypoints: {len(skeleton)}, {skeleton.name}\n"
        "- numbers: none measured here; `clickpose evaluate` does\n\n"
        "The weights stay under the terms of those who published them.\n"
    )
