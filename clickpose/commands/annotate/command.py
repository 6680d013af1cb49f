"""The command: open the desk, print its address, and work in the background until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clickpose.commands.options import takes
from clickpose.errors import InvalidConfig

DATA = Path("clickpose-data")
DEMO_MODEL = Path(__file__).parents[3] / "models" / "demo"


@dataclass(frozen=True)
class AnnotateOptions:
    """What is annotated, and with which model."""

    photos: Annotated[Path, typer.Argument(help="Folder of images, with its subfolders.")]
    data: Annotated[Path, typer.Option(help="Folder for all data; use the same one to resume.")] = DATA
    model: Annotated[Path, typer.Option(help="Model folder to start with.")] = DEMO_MODEL
    skeleton: Annotated[
        str | None,
        typer.Option(help="Keypoints to annotate: a name such as humanart21, or a JSON file; default: the model's."),
    ] = None
    port: Annotated[int, typer.Option(help="Port of the page that is opened.", min=1, max=65535)] = 8081
    retrain_after: Annotated[
        int, typer.Option(help="Newly annotated images after which the model is retrained.", min=1)
    ] = 20
    browser: Annotated[bool, typer.Option(help="Open a browser if there is one.")] = True


@takes(AnnotateOptions)
def annotate(options: AnnotateOptions) -> None:
    """Annotate a folder of photos: people get skeletons, you correct them in a browser, and the model learns.

    Everything is kept in the data folder: run the same command again to resume. Ctrl-C stops everything.
    """
    from clickpose.commands.annotate.desk import open_desk
    from clickpose.commands.annotate.log import messages_in
    from clickpose.skeleton import Skeleton

    if not options.photos.is_dir():
        raise InvalidConfig(f"there is no folder {options.photos}: give the folder with your photos")
    wanted = Skeleton.load(options.skeleton) if options.skeleton else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that everything is stopped
    typer.echo("starting Label Studio, Ray and the service; the very first start takes a minute longer")
    opened = open_desk(options.photos, options.data, model=options.model, port=options.port, skeleton=wanted)
    with suppress(KeyboardInterrupt), messages_in(options.data / "annotate.log"), opened as desk:
        typer.echo(f"\n    {desk.address}\n\nlog in as {desk.username} with {desk.password}; Ctrl-C stops everything\n")
        if options.browser and _has_browser():
            webbrowser.open(desk.address)
        from clickpose.commands.annotate.background import Background  # with torch, which takes a while to load

        try:
            Background(desk, typer.echo, min_new_pictures=options.retrain_after).run()
        finally:
            typer.echo("stopping; run the same command to resume")


def _has_browser() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
