"""Start and stop the Serve application in this process."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from clickpose.errors import NotReady
from serve.haproxy import enable_haproxy
from serve.settings import AppArgs

READY_LIMIT_S = 180.0
POLL_S = 0.5


@contextmanager
def running_service(args: AppArgs, *, host: str, port: int) -> Iterator[str]:
    """Run the application until the block ends; yield its URL once every replica has its model.

    Raises:
        NotReady: the model was not loaded in time.
    """
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    if not os.environ.get("RAY_ADDRESS"):
        enable_haproxy()
    import ray
    from ray import serve

    from pipeline.cluster import connect
    from serve.app import build_app

    app = build_app(args)  # finds wrong arguments before anything is started
    connect()
    quiet = {"enable_access_log": False, "log_level": "WARNING"}
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(http_options={"host": host, "port": port}, logging_config=quiet)
    try:
        serve.run(app, name="clickpose", route_prefix="/", logging_config=quiet)
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        yield url
    finally:
        serve.shutdown()
        ray.shutdown()


def wait_until_ready(url: str) -> None:
    """Wait until the service's model is loaded.

    Raises:
        NotReady: it was not loaded in time; the message contains the last answer.
    """
    deadline, answer = time.monotonic() + READY_LIMIT_S, "no answer"
    while time.monotonic() < deadline:
        try:
            health = httpx.get(f"{url}/health", timeout=5.0)
            answer = health.text
            if health.is_success and health.json()["service"]["ready"]:
                return
        except httpx.TransportError as error:
            answer = repr(error)
        time.sleep(POLL_S)
    raise NotReady(f"{url} was not ready within {READY_LIMIT_S:.0f} s: {answer}")
