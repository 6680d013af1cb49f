"""Everything the demo starts, and surely stops: Label Studio, Ray, the service, and an ear for webhooks."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from clickpose.commands.demo.pictures import copy_pictures
from clickpose.commands.serving import running_service
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.server import LabelStudioServer, free_port
from serve.settings import AppArgs

USER = "clickpose"
POLL_S = 1.0  # how soon a promoted model is noticed


@dataclass(frozen=True)
class Stack:
    """What is running.

    Attributes:
        server: Label Studio.
        label_studio: its client.
        service_url: of the Serve application.
        secret: that the service asks for.
        webhooks: released once for every annotation event that arrived.
        pictures: the folder that Label Studio serves images from.
    """

    server: LabelStudioServer
    label_studio: LabelStudio
    service_url: str
    secret: str
    webhooks: threading.Semaphore
    pictures: Path


@contextmanager
def running_stack(scratch: Path, store: Path, files: tuple[Path, ...]) -> Iterator[Stack]:
    """Start everything in a scratch folder; stop it when the block ends, however it ends."""
    documents, secret, events = scratch / "files", secrets.token_urlsafe(24), threading.Semaphore(0)
    pictures = copy_pictures(files, documents / "pictures")
    with ExitStack() as stack:
        server = stack.enter_context(LabelStudioServer(scratch / "label-studio", files=documents))
        client = stack.enter_context(LabelStudio(server.url, server.token))
        args = AppArgs.model_validate(
            {
                "store": str(store),
                "user": USER,
                "secret": secret,
                "label_studio_url": server.url,
                "label_studio_token": server.token,
                "local_files_root": str(documents),
                "forward_webhooks_to": stack.enter_context(listening(events)),
                "poll_s": POLL_S,
            }
        )
        url = stack.enter_context(running_service(args, host="127.0.0.1", port=free_port()))
        yield Stack(server, client, url, secret, events, pictures)


@contextmanager
def listening(events: threading.Semaphore) -> Iterator[str]:
    """Listen for forwarded webhook events on a free port of this machine; yield the URL."""

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            events.release()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: the service logs its requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
