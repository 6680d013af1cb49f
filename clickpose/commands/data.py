"""``clickpose data``: the annotations in a store."""

from __future__ import annotations

from typing import Annotated

import typer

from clickpose.commands.output import JsonFile, write_json

data = typer.Typer(no_args_is_help=True, help="Look at the annotations in a store, and name gold images.")
Where = Annotated[str, typer.Option("--store", help="Folder or URI of the store.")]


@data.command()
def gold(
    store: Where,
    images: Annotated[list[str] | None, typer.Argument(help="File names as the annotations have them.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take IMAGES out of the gold set.")] = False,
    json: JsonFile = None,
) -> None:
    """Name images whose labels are trusted: never trained on, always compared on. Without IMAGES, list them.

    As long as none is named, the held-back images annotated before the newest batch are gold.
    """
    from pipeline.gold import forget_gold, name_gold, named_gold
    from pipeline.store import Store

    where, change = Store(store), forget_gold if remove else name_gold
    named = change(where, images) if images else named_gold(where)
    typer.echo("\n".join(sorted(named)) or "no image is named as gold")
    write_json(json, {"gold": sorted(named)})
