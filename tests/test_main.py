"""What every command sets up."""

import os
import sys
from pathlib import Path

import pytest

from clickpose.__main__ import main


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings as on a machine where nobody has set anything."""
    for name in ("OMP_WAIT_POLICY", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["clickpose", "--help"])


def run() -> None:
    with pytest.raises(SystemExit):
        main()


def test_waiting_threads_leave_the_core_to_others() -> None:
    run()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_setting_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 32)
    run()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["RAY_AUTH_MODE"]) == ("ACTIVE", "disabled")


def test_clusters_are_shown_the_token_that_ray_has_kept(tmp_path: Path) -> None:
    run()
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 32)
    run()
    assert os.environ["RAY_AUTH_MODE"] == "token"
