"""Label Studio over PostgreSQL, as teams run it: an annotator's loop, and collecting what was annotated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clickpose.checkpoints.model_folder import save_model
from clickpose.commands import collecting
from clickpose.model import ClickPose, tiny
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.server import LabelStudioServer
from pipeline.store import Store
from tests.integrations.annotators_loop import play_annotator
from tests.integrations.postgresql import find_programs, running_postgresql

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    try:
        find_programs()
    except LookupError as error:
        pytest.skip(f"NO TEST WITH POSTGRESQL: {error}")
    folder = tmp_path_factory.mktemp("studio")
    with running_postgresql() as settings, LabelStudioServer(folder, settings=settings) as server:
        yield server
    assert not list(folder.glob("*.sqlite3"))


def test_an_annotators_loop_and_collecting(
    label_studio: LabelStudioServer, service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_annotator(label_studio, service)
    monkeypatch.setenv(collecting.TOKEN, label_studio.token)
    skeleton, store = service.skeleton, Store(tmp_path / "store")
    model = save_model(tmp_path / "model", ClickPose(tiny(len(skeleton))), skeleton, metrics={}, card="")

    def collect() -> list[str]:
        collected = collecting.collect(collecting.Project(label_studio.url, "poses"), model, store)
        return [image.file_name for image in collected.annotations.images]

    assert collect() == ["unsure.jpg"]
    with LabelStudio(label_studio.url, label_studio.token) as client:
        project = int(client.find_project("poses")["id"])  # type: ignore[index]
        sure, unsure = (task["id"] for task in client.tasks(project))
        client.submit_annotation(sure, client.task(sure)["predictions"][0]["result"])
        assert collect() == ["sure.jpg", "unsure.jpg"]
        client.delete_task(unsure)
        assert collect() == ["sure.jpg"]
