"""One story with a real Label Studio: a click comes back as a pose, a submission as an event and as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clickpose.errors import LabelStudioError
from integrations.label_studio.server import LabelStudioServer
from tests.integrations.annotators_loop import play_annotator


@pytest.mark.cluster
def test_from_prediction_to_training_data(label_studio: LabelStudioServer, service: Any) -> None:
    play_annotator(label_studio, service)


@pytest.mark.cluster
def test_server_that_does_not_come_up_is_ended(tmp_path: Path) -> None:
    server = LabelStudioServer(tmp_path, start_limit_s=1.0)
    with pytest.raises(LabelStudioError, match=r"did not answer within 1 s: see .*label-studio\.log"):
        server.start()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if str(server.port).encode() in command.split(b"\0")]


def test_program_of_another_version_may_be_given_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the server itself runs in its own folder
    assert LabelStudioServer(tmp_path / "studio", program="bin/label-studio").program == tmp_path / "bin/label-studio"
