"""Start and stop the Serve application in this process."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from clickpose.errors import InvalidConfig, NotReady
from serve.haproxy import enable_haproxy
from serve.settings import AppArgs

logger = logging.getLogger(__name__)

NAME = "clickpose"
READY_LIMIT_S = 180.0
POLL_S = 0.5
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


@contextmanager
def running_service(args: AppArgs, *, host: str, port: int) -> Iterator[str]:
    """Run the application until the block ends; yield its URL once every replica has its model.

    Afterwards the application is stopped, and Serve and Ray if they were started here. What was running before, such
    as other applications of a cluster, keeps running.

    Raises:
        InvalidConfig: the port is in use, or the cluster runs an application of this name, or on another port.
        NotReady: the model was not loaded in time.
    """
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    starts_ray = _starts_ray()
    if starts_ray:
        enable_haproxy()
    from serve.app import build_app

    app = build_app(args)  # finds wrong arguments before anything is started
    if starts_ray:
        check_port(host, port)
    with _ray(), _serve(host, port, stop=not starts_ray):
        from ray import serve

        try:
            serve.run(app, name=NAME, route_prefix="/", logging_config=QUIET)
            logger.debug("started the application")
            url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
            wait_until_ready(url)
            logger.debug("loaded the model")
            yield url
        finally:
            serve.delete(NAME)


def wait_until_ready(url: str) -> None:
    """Wait until the service's model is loaded.

    Raises:
        NotReady: it was not loaded in time; the message contains the last answer.
    """
    deadline, answer = time.monotonic() + READY_LIMIT_S, "no answer"
    while time.monotonic() < deadline:
        try:
            health = httpx.get(f"{url}/health", timeout=5.0, trust_env=False)  # a company's proxy does not reach us
            answer = health.text
            if health.is_success and health.json()["service"]["ready"]:
                return
        except httpx.TransportError as error:
            answer = repr(error)
        time.sleep(POLL_S)
    raise NotReady(f"{url} was not ready within {READY_LIMIT_S:.0f} s: {answer}")


def replica_statuses(url: str, args: AppArgs) -> list[dict[str, Any]]:
    """Return the status of every replica of a running service."""
    auth = (args.user, args.secret.get_secret_value()) if args.secret else None
    answer = httpx.get(f"{url}/v1/status", auth=auth, timeout=5.0, trust_env=False)
    return list(answer.raise_for_status().json()["replicas"])


def _starts_ray() -> bool:
    """Return whether connecting to Ray will start one."""
    import ray

    from pipeline.cluster import started_here

    joins = ray.is_initialized() or os.environ.get("RAY_ADDRESS", "") not in ("", "auto")
    return not joins and started_here() is None


@contextmanager
def _ray() -> Iterator[None]:
    """Connect to Ray, and leave it afterwards if this process was not connected before."""
    import ray

    from pipeline.cluster import connect, disconnect

    was_connected = ray.is_initialized()
    try:
        connect()
        logger.debug("connected to Ray")
        yield
    finally:
        if not was_connected:
            disconnect()


@contextmanager
def _serve(host: str, port: int, *, stop: bool) -> Iterator[None]:
    """Start Serve; ``stop`` it afterwards unless it was running before or has other applications."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    was_running = bool(serve.status().proxies)
    if was_running:
        _check_running_serve(port)
    else:
        serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
        logger.debug("started Serve")
    try:
        yield
    finally:
        if stop and not was_running and not serve.status().applications:
            serve.shutdown()


def _check_running_serve(port: int) -> None:
    """Check that a running Serve can take the application."""
    from ray import serve
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    if client and client.http_config.port != port:
        running = client.http_config.port
        raise InvalidConfig(f"Serve of this cluster already listens on port {running}: use --port {running}")
    if NAME in serve.status().applications:
        raise InvalidConfig(f"this cluster already runs an application named {NAME!r}: stop that one first")


def check_port(host: str, port: int) -> None:
    """Check that this machine can listen on a port."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise InvalidConfig(f"port {port} of {host} cannot be opened: {why}; choose another one with --port") from error
