"""Files that a command writes beside its main result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from clickpose.commands.locations import writable_file, written


def output_file(*names: str, help: str) -> Any:  # as typer calls it
    """Return an option for a file to write, path or URI; it is checked before a command starts: some take hours."""
    return typer.Option(*names, help=help, parser=writable_file, metavar="FILE")


JsonFile = Annotated[str | None, output_file("--json", help="Also write the results to this file.")]


def write_json(out: str | None, values: Mapping[str, Any]) -> None:
    """Write results to a file, path or URI, if one is given."""
    if out is not None:
        with file_to_write(out) as path:
            path.write_text(json.dumps(values, indent=2, default=str) + "\n")


@contextmanager
def file_to_write(out: str) -> Iterator[Path]:
    """Give a local path to write a file to, in a folder that exists; if ``out`` is a URI, it is copied there."""
    with written(out) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
