"""``clickpose label-studio``: a project for a skeleton; predictions in, annotations out."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from clickpose.commands.output import JsonFile, write_json
from clickpose.errors import LabelStudioError, Unauthorized
from integrations.label_studio.client import LabelStudio

if TYPE_CHECKING:
    from pipeline.retrain import Collected

logger = logging.getLogger(__name__)

label_studio = typer.Typer(no_args_is_help=True, help="Set up Label Studio projects, and exchange annotations.")
Url = Annotated[str, typer.Option(help="URL of Label Studio; its token is read from LABEL_STUDIO_TOKEN.")]
Title = Annotated[str, typer.Option(help="Title of the project.")]
TOKEN = "LABEL_STUDIO_TOKEN"


@label_studio.command()
def init(
    url: Url,
    title: Title,
    model: Annotated[Path, typer.Option(help="Model folder whose skeleton is annotated.")],
    backend: Annotated[
        str | None,
        typer.Option(help="URL of the service; its secrets: CLICKPOSE_SECRET and, if set, CLICKPOSE_WEBHOOK_SECRET."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Create a project with the labelling interface of a model, and connect the service to it."""
    from clickpose.checkpoints.model_folder import load_model
    from integrations.label_studio.interface import labelling_interface

    with _connect(url) as client:
        project = client.create_project(title, labelling_interface(load_model(model).skeleton))["id"]
        if backend:
            secret = os.environ.get("CLICKPOSE_SECRET", "")
            client.connect_backend(project, backend, title="Click-Pose", user="clickpose", password=secret)
            webhook_secret = os.environ.get("CLICKPOSE_WEBHOOK_SECRET") or secret
            client.add_webhook(project, f"{backend.rstrip('/')}/webhook", secret=webhook_secret)
    typer.echo(f"project {project}: {url.rstrip('/')}/projects/{project}/")
    write_json(json, {"project": project})


@label_studio.command()
def push(
    url: Url,
    title: Title,
    prelabels: Annotated[str, typer.Argument(help="Folder or URI that clickpose prelabel wrote.")],
    model: Annotated[Path, typer.Option(help="Model folder that made them.")],
    serve_from: Annotated[str, typer.Option(help="Address of the pictures for browsers, without the file name.")],
    json: JsonFile = None,
) -> None:
    """Import pre-labelled pictures as tasks with predictions; pictures that are there already get new ones."""
    from clickpose.checkpoints.model_folder import load_model
    from integrations.label_studio.tasks import make_prediction, make_task
    from pipeline.shards import read_prelabels

    skeleton, new, again, version = load_model(model).skeleton, [], [], ""
    with _connect(url) as client:
        project = _project(client, title)
        known = {task["data"].get("file_name"): task["id"] for task in client.tasks(project)}
        for found in read_prelabels(prelabels):
            name, version = Path(found.uri).name, found.model_version
            prediction = make_prediction(found.poses, skeleton, found.size_wh, model_version=version)
            if name in known:
                again.append({**prediction, "task": known[name]})
            else:
                address = serve_from + quote(name)
                new.append(make_task(address, found.size_wh, file_name=name, predictions=[prediction]))
        client.import_tasks(project, new)
        client.add_predictions(project, again)
        client.show_predictions_of(project, version)
    typer.echo(f"{len(new)} new tasks, {len(again)} new predictions of {version}")
    write_json(json, {"tasks": len(new), "predictions": len(again), "model_version": version})


@label_studio.command()
def sync(
    url: Url,
    title: Title,
    store: Annotated[str, typer.Option(help="Store that gets the snapshot.")],
    model: Annotated[Path, typer.Option(help="Model folder whose skeleton is annotated.")],
    json: JsonFile = None,
) -> None:
    """Freeze all annotations of a project as a snapshot; unchanged annotations give the same one."""
    from pipeline.snapshot import take_snapshot
    from pipeline.store import Store

    collected = collect(url, title, model)
    snapshot = take_snapshot(Store(store), collected.annotations, collected.provenance)
    left_out = list(collected.left_out)
    counts = f"{len(snapshot.annotations)} pictures, {snapshot.annotations.num_persons} persons"
    typer.echo(f"{snapshot.id}: {counts}" + (f"; left out, see above: {len(left_out)}" if left_out else ""))
    write_json(json, {"snapshot": snapshot.id, "pictures": len(snapshot.annotations), "left_out": left_out})


@label_studio.command()
def proxy(
    to: Annotated[str, typer.Option("--label-studio", help="URL of Label Studio.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8081,
    skeleton: Annotated[
        list[Path] | None, typer.Option(help="JSON file of a skeleton that is not built in; may repeat.")
    ] = None,
) -> None:
    """Stand in front of Label Studio: whoever works through it drags a keypoint, and the others follow.

    Label Studio's own setting LABEL_STUDIO_HOST must be unset, or be the address of this proxy.
    """
    import uvicorn

    from clickpose.skeleton import Skeleton, built_in
    from integrations.label_studio.proxy import build_proxy

    app = build_proxy(to, [Skeleton.load(name) for name in (*built_in(), *(skeleton or ()))])
    typer.echo(f"open http://{host}:{port} instead of {to}; Ctrl-C stops it")
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        ws="none",
    )


def collect(url: str, title: str, model: Path) -> Collected:
    """Return every annotation of a project, in a model's skeleton; log what could not be read, by task.

    Raises:
        LabelStudioError: there is no such project, or Label Studio does not answer.
    """
    from clickpose.checkpoints.model_folder import load_model
    from clickpose.images import decode_image
    from integrations.label_studio.tasks import read_export, to_annotation_set
    from pipeline.retrain import Collected

    skeleton = load_model(model).skeleton
    with _connect(url) as client:
        tasks = client.tasks(_project(client, title), changed_since=datetime.fromtimestamp(0, UTC))
        export = read_export(tasks, skeleton, size_of=lambda address: decode_image(client.fetch(address), address).size)
    for sentence in export.left_out:
        logger.warning("left out: %s", sentence)
    records = [record for annotation in export.annotations for record in annotation.records]
    return Collected(to_annotation_set(export.annotations, skeleton), records, export.left_out)


def _connect(url: str) -> LabelStudio:
    token = os.environ.get(TOKEN)
    if not token:
        raise Unauthorized(f"set {TOKEN} to a token of Label Studio, legacy or personal")
    return LabelStudio(url, token)


def _project(client: LabelStudio, title: str) -> int:
    project = client.find_project(title)
    if project is None:
        raise LabelStudioError(f"there is no project {title!r}: make it with clickpose label-studio init")
    return int(project["id"])
