"""The service's command line."""

import signal

import pytest
from typer.testing import CliRunner

from clickpose.__main__ import app


@pytest.mark.parametrize("option, is_old", [("--allow-anonymous", False), ("--open-to-anybody", True)])
def test_the_option_without_authentication_also_goes_by_its_old_name(
    option: str, is_old: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = []

    def start(args, **_):
        started.append(args)
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("clickpose.commands.serving.running_service", start)
    assert CliRunner().invoke(app, ["serve", "--model", "models/demo", option]).exit_code == 0
    assert started[0].allow_anonymous
    assert ("use --allow-anonymous" in caplog.text) == is_old


def test_the_old_name_is_not_offered() -> None:
    assert "--open-to-anybody" not in CliRunner().invoke(app, ["serve", "--help"]).output
