"""``clickpose serve``: the service behind every click."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clickpose.commands.options import takes
from clickpose.errors import InvalidConfig

if TYPE_CHECKING:
    from serve.settings import AppArgs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeOptions:
    """What is served, where, and to whom."""

    store: Annotated[
        str | None,
        typer.Option(help="Store whose current model is served; newly promoted models are loaded automatically."),
    ] = None
    model: Annotated[str | None, typer.Option(help="Model folder to serve; it is never reloaded.")] = None
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 9090
    replicas: Annotated[str, typer.Option(help="Number of model replicas, or a range such as 1..8.")] = "1"
    ingresses: Annotated[
        int, typer.Option(help="Number of web servers in front of the replicas; with 2, one may crash.", min=1)
    ] = 1
    gpus: Annotated[float, typer.Option(help="GPUs of each replica.", min=0)] = 0.0
    image_root: Annotated[
        list[str] | None, typer.Option(help="Folder or bucket URI that images may be read from; may be repeated.")
    ] = None
    label_studio: Annotated[
        str | None, typer.Option(help="URL of Label Studio; set its token in LABEL_STUDIO_TOKEN.")
    ] = None
    forward_webhooks_to: Annotated[str | None, typer.Option(help="URL that annotation events are forwarded to.")] = None
    cache_gb: Annotated[
        float | None, typer.Option(help="Memory for encoded images in each replica; 2.1 by default.", min=0.1)
    ] = None
    half_cache: Annotated[
        bool, typer.Option(help="Keep encoded images in half precision: twice as many fit. The demo model always does.")
    ] = False
    allow_anonymous: Annotated[bool, typer.Option(help="Disable authentication.")] = False
    open_to_anybody: Annotated[bool, typer.Option("--open-to-anybody", hidden=True)] = False

    def app_args(self) -> AppArgs:
        """Return the settings of the Serve application, with secrets from the environment.

        Raises:
            InvalidConfig: a setting is missing or out of range.
        """
        from pydantic import ValidationError

        from serve.settings import AppArgs

        if self.open_to_anybody:
            logger.warning("--open-to-anybody is deprecated: use --allow-anonymous")
        values = {
            "store": self.store,
            "model": self.model,
            **_read_replicas(self.replicas),
            "ingresses": self.ingresses,
            "num_gpus": self.gpus,
            "image_roots": self.image_root or [],
            "label_studio_url": self.label_studio,
            "forward_webhooks_to": self.forward_webhooks_to,
            "half_cache": self.half_cache,
            "allow_anonymous": self.allow_anonymous or self.open_to_anybody,
        }
        if self.cache_gb is not None:
            values["cache_mib"] = int(self.cache_gb * 1e9 / 2**20)
        try:
            return AppArgs.model_validate(values).with_secrets()
        except ValidationError as error:
            raise InvalidConfig(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _read_replicas(text: str) -> dict[str, str | None]:
    """Read a number, such as 2, or a range, such as 1..8."""
    least, _, most = text.partition("..")
    return {"replicas": least, "max_replicas": most or None}


@takes(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Serve a model to Label Studio and other clients; they authenticate with the secret in CLICKPOSE_SECRET."""
    from clickpose.commands.serving import replica_statuses, running_service

    args = options.app_args()
    _check_folders(args.image_roots)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that everything is stopped
    with suppress(KeyboardInterrupt), running_service(args, host=options.host, port=options.port) as url:
        typer.echo(cache_line(replica_statuses(url, args)[0], args.cache_mib))
        typer.echo(f"serving at {url}; Ctrl-C stops it")
        threading.Event().wait()


def cache_line(replica: dict[str, Any], cache_mib: int) -> str:
    """Return how many encoded images fit into a replica's memory."""
    image_bytes = max(1, replica["image_bytes"])
    num_images = max(1, cache_mib * 2**20 // image_bytes)
    size = f"{image_bytes / 1e6:.1f} MB: 640 x 480 with three persons"
    return f"each replica keeps {num_images} encoded images of {size} in memory (--cache-gb)"


def _check_folders(roots: tuple[str, ...]) -> None:
    """Reject a folder that does not exist, unless Ray runs on other machines."""
    missing = [root for root in roots if "://" not in root and not Path(root).is_dir()]
    if missing and not os.environ.get("RAY_ADDRESS"):
        raise InvalidConfig(f"folder {missing[0]} does not exist: give --image-root a folder with images")
