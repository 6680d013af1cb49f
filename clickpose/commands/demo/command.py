"""The command: set the stage, play, report, and keep running for those who watch."""

from __future__ import annotations

import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clickpose.commands.demo.pictures import MODEL, PICTURES
from clickpose.commands.output import JsonFile, write_json


def demo(
    pictures: Annotated[Path, typer.Option(help="Folder with images/ and annotations.json.")] = PICTURES,
    model: Annotated[Path, typer.Option(help="Model folder to begin with.")] = MODEL,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; runs/demo-TIME by default.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Use only this many annotated images.")] = None,
    stay: Annotated[bool, typer.Option(help="Keep Label Studio up afterwards, in a terminal.")] = True,
    json: JsonFile = None,
) -> None:
    """Play the whole loop on this machine: pre-label, annotate in Label Studio, retrain, promote, repeat."""
    from clickpose.checkpoints.model_folder import load_model
    from clickpose.commands.demo.pictures import find_pictures
    from clickpose.commands.demo.report import table, write_report
    from clickpose.commands.demo.stack import running_stack
    from clickpose.commands.demo.story import Demo
    from pipeline.registry import Registry
    from pipeline.store import Store

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that all is stopped then, too
    console = Console()
    skeleton = load_model(model).skeleton
    shown = find_pictures(pictures, skeleton, limit)
    report = out or Path("runs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    with tempfile.TemporaryDirectory(prefix="clickpose-demo-") as scratch:
        store = Store(Path(scratch) / "store")
        Registry(store).promote(Registry(store).add(model))
        console.print("starting Label Studio, Ray and the service")
        with running_stack(Path(scratch), Path(scratch) / "store", shown.files) as stack:
            story = Demo(stack, store, shown, skeleton, console.print).run()
            numbers = write_report(report, story, shown, skeleton)
            console.print(table(numbers))
            write_json(json, numbers)
            if stay and sys.stdin.isatty() and sys.stdout.isatty():
                server = stack.server
                console.print(f"Label Studio stays at {server.url}: {server.username}, {server.password}")
                console.input("Press Enter to stop everything. ")
