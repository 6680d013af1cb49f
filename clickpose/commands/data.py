"""``clickpose data``: the annotations in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import StoreError

if TYPE_CHECKING:
    from pipeline.store import Store

data = typer.Typer(no_args_is_help=True, help="Look at the annotations in a store, and name gold images.")
Where = Annotated[str, typer.Option("--store", help="Folder or URI of the store.")]


@data.command()
def gold(
    store: Where,
    images: Annotated[list[str] | None, typer.Argument(help="File names as the annotations have them.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove IMAGES from the gold set.")] = False,
    json: JsonFile = None,
) -> None:
    """Name images whose labels are trusted: never trained on, always compared on. Without IMAGES, list them.

    If none is named, the held-back images annotated before the newest batch are gold.
    """
    from pipeline.gold import forget_gold, name_gold, named_gold
    from pipeline.store import Store

    where, change = Store(store), forget_gold if remove else name_gold
    if unknown := set(images or ()) - (named_gold(where) if remove else _annotated(where)):
        typer.echo(f"{'not gold' if remove else 'not annotated yet'}: {', '.join(sorted(unknown))}", err=True)
    named = change(where, images) if images else named_gold(where)
    typer.echo("\n".join(sorted(named)) or "no image is named as gold")
    write_json(json, {"gold": sorted(named)})


@data.command()
def show(
    store: Where,
    snapshot: Annotated[str | None, typer.Argument(help="Its id; the current one by default.")] = None,
    json: JsonFile = None,
) -> None:
    """Show a snapshot: images, persons, annotators, and the origin of keypoints."""
    from pipeline.set_aside import find_set_aside
    from pipeline.snapshot import load_snapshot, read_manifest
    from pipeline.store import Store

    where = Store(store)
    wanted = snapshot or _current(store)
    manifest = read_manifest(where, wanted)
    aside = find_set_aside(where, load_snapshot(where, wanted).annotations)
    values = {"snapshot": wanted, **manifest, "set_aside": [f"{one.annotation}: {one.reason}" for one in aside]}
    for name, value in values.items():
        if name != "sha256":
            typer.echo(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    write_json(json, values)


@data.command()
def diff(
    store: Where,
    old: Annotated[str, typer.Argument(help="Id of a snapshot.")],
    new: Annotated[str | None, typer.Argument(help="Id of another; the current one by default.")] = None,
    json: JsonFile = None,
) -> None:
    """Show which images were added, removed and changed between two snapshots."""
    from dataclasses import asdict

    from pipeline.data_diff import diff_data
    from pipeline.snapshot import load_snapshot
    from pipeline.store import Store

    where = Store(store)
    before, after = (load_snapshot(where, name).annotations for name in (old, new or _current(store)))
    found = diff_data(before, after)
    for sign, names in (("+", found.added), ("-", found.removed)):
        typer.echo("".join(f"{sign} {name}\n" for name in names), nl=False)
    for one in found.changed:
        counts = f"{one.persons_added} persons added, {one.persons_removed} removed"
        typer.echo(f"~ {one.file_name}: {counts}, {one.keypoints_changed} keypoints changed")
    typer.echo(f"{len(found.added)} images added, {len(found.removed)} removed, {len(found.changed)} changed")
    write_json(json, asdict(found))


def _annotated(store: Store) -> set[str]:
    """Return the file names in the current snapshot."""
    from pipeline.snapshot import current_snapshot, load_snapshot

    current = current_snapshot(store)
    return {image.file_name for image in load_snapshot(store, current).annotations.images} if current else set()


def _current(store: str) -> str:
    from pipeline.snapshot import current_snapshot
    from pipeline.store import Store

    current = current_snapshot(Store(store))
    if current is None:
        raise StoreError(f"there is no snapshot in {store} yet: clickpose label-studio sync takes one")
    return current
