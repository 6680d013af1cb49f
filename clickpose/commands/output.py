"""The results of a command as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from clickpose.commands.locations import writable_file, written

JsonFile = Annotated[  # checked before a command starts: some take hours
    str | None,
    typer.Option("--json", help="Also write the results to this file.", parser=writable_file, metavar="FILE"),
]


def write_json(out: str | None, values: Mapping[str, Any]) -> None:
    """Write results to a file, path or URI, if one is given."""
    if out is not None:
        with written(out) as path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values, indent=2, default=str) + "\n")
