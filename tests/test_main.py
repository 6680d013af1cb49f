"""What every command sets up."""

import os
import sys

import pytest

from clickpose.__main__ import main


@pytest.mark.parametrize(("set_by_user", "in_use"), [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_leave_the_core_to_others_unless_the_user_says_otherwise(
    set_by_user: str, in_use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", set_by_user)  # restored afterwards
    if not set_by_user:
        del os.environ["OMP_WAIT_POLICY"]
    monkeypatch.setattr(sys, "argv", ["clickpose", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OMP_WAIT_POLICY"] == in_use
