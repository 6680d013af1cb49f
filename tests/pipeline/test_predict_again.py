"""After a promotion, tasks that wait for an annotator get predictions of the new model, once."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from clickpose.commands import predict_again as command
from clickpose.commands.collecting import Project
from clickpose.commands.predict_again import predict_again
from pipeline.registry import Registry
from pipeline.store import Store


class LabelStudio:
    """As much of a client as is needed, with tasks in memory."""

    def __init__(self, *tasks: dict[str, Any]) -> None:
        self.by_id = {task["id"]: {"annotations": [], "predictions": [], **task} for task in tasks}
        self.shown = ""

    def find_project(self, title: str) -> dict[str, int]:
        return {"id": 7}

    def image_key(self, project: int) -> str:
        return "image"

    def local_folders(self, project: int) -> list[str]:
        return ["/srv/label-studio/photos"]

    def tasks(self, project: int) -> list[dict[str, Any]]:
        return list(self.by_id.values())

    def add_predictions(self, project: int, predictions: list[dict[str, Any]]) -> None:
        for prediction in predictions:
            self.by_id[prediction["task"]]["predictions"].append(prediction)

    def show_predictions_of(self, project: int, version: str) -> None:
        self.shown = version


def task(number: int, name: str, **changes: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": f"/data/{name}", "file_name": name}, **changes}


@pytest.fixture
def store(tmp_path: Path, tiny_model: Path) -> Store:
    store = Store(tmp_path / "store")
    Registry(store).promote(Registry(store).add(tiny_model))
    return store


def test_only_tasks_that_wait_get_a_prediction_and_only_once(
    store: Store, make_images, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images = make_images("a.png", "b c.png", "deep/d.png")
    client = LabelStudio(
        task(1, "a.png", annotations=[{"id": 11}]),
        task(2, "b c.png"),
        task(3, "deep/d.png"),
        task(4, "upload/x.png"),
        task(6, "b c.png"),
    )
    monkeypatch.setattr(command, "connect", lambda url: nullcontext(client))
    version = Registry(store).current()
    project = Project("http://localhost", "Poses", str(images))

    assert predict_again(project, store, version) == 3
    assert {number: len(one["predictions"]) for number, one in client.by_id.items()} == {1: 0, 2: 1, 3: 1, 4: 0, 6: 1}
    assert client.by_id[2]["predictions"][0]["model_version"] == version == client.shown
    assert "1 tasks keep their predictions" in caplog.text

    assert predict_again(project, store, version) == 0
    address = "/data/local-files/?d=photos/a.png"  # found by Label Studio, which gives no name
    client.by_id[5] = {**task(5, "a.png"), "data": {"image": address}, "annotations": [], "predictions": []}
    assert predict_again(project, store, version) == 1
