"""``clickpose models``: the registry in a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from clickpose.checkpoints.files import CARD
from clickpose.commands.locations import readable_folder
from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import StoreError

if TYPE_CHECKING:
    from pipeline.registry import Registry

models = typer.Typer(no_args_is_help=True, help="List, show, add, promote and roll back models in a store.")
Where = Annotated[str, typer.Option("--store", help="Folder or URI of the store.")]
SHOWN = ("AP", "AP50", "AP@C4", "clicks@90")


@models.command("list")
def list_models(store: Where, json: JsonFile = None) -> None:
    """List every model, the current one marked."""
    records = _registry(store).models()
    table = Table("", "version", "parent", "added", *SHOWN)
    for record in records:
        numbers = [record.metrics.get(name, record.metrics.get(f"held_back/{name}")) for name in SHOWN]
        shown = ["-" if number is None else f"{number:.3f}" for number in numbers]
        table.add_row("*" if record.is_current else "", record.version, record.parent or "-", record.added_at, *shown)
    if records:
        Console().print(table)
    else:
        typer.echo(f"there are no models in {store}")
    write_json(json, {"models": [asdict(record) for record in records]})


@models.command()
def show(version: str, store: Where, json: JsonFile = None) -> None:
    """Show a model's card."""
    registry = _registry(store)
    record = registry.show(version)
    typer.echo((registry.fetch(version) / CARD).read_text())
    write_json(json, asdict(record))


@models.command()
def add(
    model: Annotated[Path, typer.Argument(metavar="FOLDER", parser=readable_folder)],
    store: Where,
    json: JsonFile = None,
) -> None:
    """Add a model folder under a new version, if it can be loaded."""
    from clickpose.checkpoints.model_folder import load_model

    load_model(model)
    with _writing(store, "adding a model") as registry:
        version = registry.add(model)
    typer.echo(version)
    write_json(json, {"version": version})


@models.command()
def promote(version: str, store: Where, json: JsonFile = None) -> None:
    """Make a version the current one; a running service loads it by itself."""
    with _writing(store, "promoting") as registry:
        registry.promote(version)
    typer.echo(f"{version} is current")
    write_json(json, {"current": version})


@models.command()
def rollback(store: Where, json: JsonFile = None) -> None:
    """Go back to the version that was current before; a round in progress then promotes nothing."""
    version = _registry(store).rollback()
    typer.echo(f"{version} is current again")
    write_json(json, {"current": version})


@contextmanager
def _writing(store: str, task: str) -> Iterator[Registry]:
    """Hold the store's lease while its registry is changed."""
    from pipeline.lease import lease

    registry = _registry(store)
    with lease(registry.store, task):
        yield registry


def _registry(store: str) -> Registry:
    from pipeline.registry import Registry
    from pipeline.store import Store

    if Path(store).is_file():
        raise StoreError(f"{store} is a file; a store is a folder")
    return Registry(Store(store))
