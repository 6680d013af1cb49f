"""The command: start everything, run the demo, report, and keep running for spectators."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clickpose.commands.demo.images import MODEL, PICTURES
from clickpose.commands.options import takes
from clickpose.commands.output import JsonFile, write_json


@dataclass(frozen=True)
class DemoOptions:
    """The images and model of the demo, and the folder of its report."""

    images: Annotated[
        Path, typer.Option("--images", "--pictures", help="Folder with images/ and annotations.json.")
    ] = PICTURES
    model: Annotated[Path, typer.Option(help="Model folder to begin with.")] = MODEL
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report and of everything else; runs/demo-TIME by default.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=4, help="Use only that many images, those with few people.")] = None
    port: Annotated[int, typer.Option(help="Port of the page to watch or try.", min=1, max=65535)] = 8081
    stay: Annotated[bool, typer.Option(help="Keep everything running afterwards, in a terminal.")] = True
    json: JsonFile = None


@takes(DemoOptions)
def demo(options: DemoOptions) -> None:
    """Run the whole loop on this machine: as clickpose annotate does, with a simulated annotator, and measure it.

    Everything is kept in the folder of the report until you delete it.
    """
    from clickpose.checkpoints.files import skeleton_of
    from clickpose.commands.annotate.desk import open_desk
    from clickpose.commands.annotate.log import messages_in
    from clickpose.commands.demo.images import copy_images, find_images
    from clickpose.commands.demo.report import table, write_report
    from clickpose.commands.demo.story import Demo

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that everything is stopped
    console = Console()
    skeleton = skeleton_of(options.model)
    shown = find_images(options.images, skeleton, options.limit)
    folder = options.out or Path("runs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    photos = copy_images(shown.files, folder / "pictures")
    console.print("starting Label Studio, Ray and the service: a minute or two")
    opened = open_desk(photos, folder / "data", model=options.model, port=options.port)
    with messages_in(folder / "data" / "annotate.log"), opened as desk:
        console.print(f"watch, or try it: {desk.address}\nlog in as {desk.username} with {desk.password}\n")
        story = Demo(desk, shown, console.print).run()
        numbers = write_report(folder, story, shown, skeleton)
        console.print(table(numbers))
        write_json(options.json, numbers)
        if options.stay and sys.stdin.isatty() and sys.stdout.isatty():
            console.print(f"Label Studio stays at {desk.address}: {desk.username}, {desk.password}")
            console.input("Press Enter to stop everything; it is kept in " + str(folder) + ". ")
