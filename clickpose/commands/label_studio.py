"""``clickpose label-studio``: a project for a skeleton; predictions in, annotations out."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from clickpose.commands.collecting import TOKEN, Project, collect, connect, find_project
from clickpose.commands.locations import readable_file, readable_folder
from clickpose.commands.options import takes
from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import InvalidConfig

label_studio = typer.Typer(no_args_is_help=True, help="Set up Label Studio projects, and exchange annotations.")
Url = Annotated[str, typer.Option(help="URL of Label Studio; its token is read from LABEL_STUDIO_TOKEN.")]
Title = Annotated[str, typer.Option(help="Title of the project.")]
DATA = Path("clickpose-data/label-studio")


@label_studio.command()
def start(
    images: Annotated[Path, typer.Argument(help="Folder of images that its projects may show.")],
    data: Annotated[Path, typer.Option(help="Folder for its database and log; use the same one to resume.")] = DATA,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8080,
) -> None:
    """Start a Label Studio on this machine, set up so that it shows local images and reaches a local service."""
    from integrations.label_studio.server import LabelStudioServer

    if not images.is_dir():
        raise InvalidConfig(f"there is no folder {images} to show images from")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that it is stopped then, too
    with suppress(KeyboardInterrupt), LabelStudioServer(data, files=images.absolute().parent, port=port) as server:
        typer.echo(f"Label Studio is at {server.url}; log in as {server.username} with {server.password}")
        typer.echo(f"export {TOKEN}={server.token}\nCtrl-C stops it")
        threading.Event().wait()


@label_studio.command()
def init(
    url: Url,
    title: Title,
    model: Annotated[Path, typer.Option(help="Model folder whose skeleton is annotated.", parser=readable_folder)],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", "--pictures", help="Folder of the images, on Label Studio's machine, that the project shows."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="URL of the service; its secrets: CLICKPOSE_SECRET and, if set, CLICKPOSE_WEBHOOK_SECRET."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Create a project for a model's keypoints, or complete an existing one; show images, connect the service.

    One image is loaded as an annotator would load it. If a step fails, no new project is left behind.
    """
    from clickpose.checkpoints.files import skeleton_of
    from integrations.label_studio.projects import LocalImages, Service, set_up_project
    from pipeline.listing import find_images

    skeleton, shown, service = skeleton_of(model), None, None
    if images is not None:
        shown = LocalImages(str(images.absolute()), find_images(images.absolute())[0])
    if backend is not None:
        secret = os.environ.get("CLICKPOSE_SECRET", "")
        service = Service(backend, secret, os.environ.get("CLICKPOSE_WEBHOOK_SECRET") or secret)
    with connect(url) as client:
        project = set_up_project(client, title, skeleton, images=shown, service=service)
    typer.echo(f"project {project}: {url.rstrip('/')}/projects/{project}/")
    write_json(json, {"project": project})


@dataclass(frozen=True)
class PushOptions:
    """What is pushed, and where to."""

    url: Url
    title: Title
    model: Annotated[
        Path, typer.Option(help="Model folder that made them, or whose skeleton is annotated.", parser=readable_folder)
    ]
    prelabels: Annotated[str | None, typer.Argument(help="Folder or URI that clickpose prelabel wrote.")] = None
    results: Annotated[
        Path | None,
        typer.Option(help="Instead of pre-labels: COCO results of any model, with --data.", parser=readable_file),
    ] = None
    data: Annotated[Path | None, typer.Option(help="COCO file that --results is about.", parser=readable_file)] = None
    images: Annotated[str | None, typer.Option(help="Folder of its images; by default that of --data.")] = None
    min_score: Annotated[float, typer.Option(help="Leave out poses of --results scored lower.")] = 0.3
    serve_from: Annotated[
        str | None,
        typer.Option(help="Address of the images for browsers, up to their names; by default the project's folders."),
    ] = None
    json: JsonFile = None


@label_studio.command()
@takes(PushOptions)
def push(options: PushOptions) -> None:
    """Import pre-labelled images as tasks with predictions; existing tasks get missing predictions.

    With --results, the first guesses are those of another model, and ours refines them.
    """
    from clickpose.checkpoints.files import skeleton_of
    from clickpose.commands.pushing import ForeignResults, predicted_images
    from integrations.label_studio.pushing import push as push_predicted

    skeleton = skeleton_of(options.model)
    if options.prelabels and not options.results:
        predicted = predicted_images(options.prelabels)
    elif options.results and options.data and not options.prelabels:
        folder = options.images or str(options.data.parent)
        predicted = ForeignResults(options.results, options.data, folder, options.min_score).predicted(skeleton)
    else:
        raise InvalidConfig("name what to push: a folder of pre-labels, or --results and --data")
    with connect(options.url) as client:
        project = find_project(client, options.title)
        pushed = push_predicted(client, project, predicted(client, project, options.serve_from), skeleton)
    typer.echo(
        f"{pushed.tasks} new tasks, {pushed.predictions} new predictions, {pushed.replaced} replaced,"
        f" {pushed.unchanged} as they were"
    )
    write_json(options.json, asdict(pushed))


@label_studio.command()
def sync(
    url: Url,
    title: Title,
    store: Annotated[str, typer.Option(help="Store that gets the snapshot.")],
    model: Annotated[Path, typer.Option(help="Model folder whose skeleton is annotated.", parser=readable_folder)],
    json: JsonFile = None,
) -> None:
    """Freeze all annotations of a project as a snapshot; unchanged annotations give the same one."""
    from pipeline.lease import lease
    from pipeline.snapshot import take_snapshot
    from pipeline.store import Store

    with lease(Store(store), "taking a snapshot"):
        collected = collect(Project(url, title), model, Store(store))
        snapshot = take_snapshot(Store(store), collected.annotations, collected.provenance)
    left_out = list(collected.left_out)
    counts = f"{len(snapshot.annotations)} images, {snapshot.annotations.num_persons} persons"
    typer.echo(f"{snapshot.id}: {counts}" + (f"; left out, see above: {len(left_out)}" if left_out else ""))
    write_json(json, {"snapshot": snapshot.id, "pictures": len(snapshot.annotations), "left_out": left_out})


@label_studio.command()
def proxy(
    to: Annotated[str, typer.Option("--label-studio", help="URL of Label Studio.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8081,
    skeleton: Annotated[
        list[Path] | None, typer.Option(help="JSON file of a skeleton that is not built in; may be repeated.")
    ] = None,
) -> None:
    """Run a proxy in front of Label Studio: when a keypoint is dragged, the others follow.

    Label Studio's own setting LABEL_STUDIO_HOST must be unset, or be the address of this proxy.
    """
    from clickpose.commands.proxying import running_proxy

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
    with suppress(KeyboardInterrupt), running_proxy(to, skeleton or (), host=host, port=port) as url:
        typer.echo(f"open {url} instead of {to}; Ctrl-C stops it")
        threading.Event().wait()
