"""``clickpose store``: delete files of a store that are no longer needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clickpose.commands.output import JsonFile, write_json

store = typer.Typer(no_args_is_help=True, help="Look after a store.")


@store.command()
def prune(
    where: Annotated[str, typer.Option("--store", help="Folder or URI of the store.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    json: JsonFile = None,
) -> None:
    """Delete files that no rollback, round or report needs, mostly rejected challengers."""
    from pipeline.lease import lease
    from pipeline.prune import delete_all, find_unneeded
    from pipeline.store import Store

    root = Store(where)
    with lease(root, "pruning"):
        unneeded = find_unneeded(root)
        if not dry_run:
            delete_all(root, unneeded)
    for one in unneeded:
        typer.echo(f"{one.name}: {one.num_bytes / 1e6:.1f} MB, {one.reason}")
    total = sum(one.num_bytes for one in unneeded)
    typer.echo(f"{total / 1e6:.1f} MB {'could be' if dry_run else 'were'} freed")
    write_json(json, {"deleted": [] if dry_run else [asdict(one) for one in unneeded], "bytes": total})
