"""Start and stop the proxy of Label Studio's pages in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton, built_in
from integrations.label_studio.proxy import build_proxy

POLL_S = 0.05


@contextmanager
def running_proxy(label_studio_url: str, own: Iterable[Skeleton | Path], *, host: str, port: int) -> Iterator[str]:
    """Run the proxy until the block ends; yield its URL.

    Args:
        label_studio_url: of the server behind it.
        own: skeletons, or JSON files of them, that are drawn in addition to the built-in ones.
        host: address to listen on.
        port: to listen on.

    Raises:
        InvalidConfig: the port is in use.
    """
    skeletons = [one if isinstance(one, Skeleton) else Skeleton.load(one) for one in (*own, *built_in())]
    app = build_proxy(label_studio_url, skeletons)
    config = uvicorn.Config(
        app, ws="none", log_level="warning", proxy_headers=False, server_header=False, date_header=False
    )
    server = uvicorn.Server(config)
    with _listening(host, port) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(POLL_S)
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise InvalidConfig(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
