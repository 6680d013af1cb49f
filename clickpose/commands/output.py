"""What every command does with its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the results to this file, too.")]


def write_json(path: Path | None, values: Mapping[str, Any]) -> None:
    """Write results to the file a user asked for, if any."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=2, default=str) + "\n")
