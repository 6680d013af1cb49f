"""Annotations are collected in full once, then only what has changed is read; the result is the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from clickpose.commands import collecting
from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.policy import Policy
from integrations.label_studio.server import LabelStudioServer
from integrations.label_studio.simulated_server import SimulatedServer, random_result
from integrations.label_studio.tasks import make_task
from pipeline.round_plan import Collected
from pipeline.store import Store

SIZE_WH = (256, 256)
SKELETON = Skeleton.load("coco17")

Collect = Callable[[SimulatedServer, Store], Collected]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def collect(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Collect from a Label Studio in memory into a store."""

    def collect(studio: SimulatedServer, store: Store, policy: Policy = Policy.latest) -> Collected:
        client = LabelStudio("http://studio", "0" * 40, transport=httpx.MockTransport(studio))
        monkeypatch.setattr(collecting, "connect", lambda url: client)
        return collecting.collect(collecting.Project("http://studio", "Poses"), tiny_model, store, policy=policy)

    return collect


def people(seed: int, num_persons: int = 2) -> list[dict[str, Any]]:
    """The regions of an annotation."""
    return random_result(seed, SKELETON, SIZE_WH, num_persons=num_persons)


def content(collected: Collected) -> list[Any]:
    """Everything that is collected, comparable."""
    images = [(image.id, image.file_name, image.size_wh) for image in collected.annotations.images]
    persons = [
        (person.id, person.keypoints_px.tolist(), person.visibility.tolist(), person.box_px.tolist(), person.area_px)
        for image in collected.annotations.images
        for person in image.persons
    ]
    return [images, persons, list(collected.provenance), list(collected.left_out)]


def annotate_one(studio: SimulatedServer) -> None:
    studio.annotate(3, people(50))


def add_a_task(studio: SimulatedServer) -> None:
    studio.tasks[99] = {**studio.tasks[1], "id": 99, "updated_at": studio.stamp(), "annotations": []}
    studio.annotate(99, people(51))


def cancel_one(studio: SimulatedServer) -> None:
    (annotation,) = studio.tasks[2]["annotations"]
    annotation["was_cancelled"], studio.tasks[2]["updated_at"] = True, studio.stamp()


def draw_something_else(studio: SimulatedServer) -> None:
    studio.annotate(4, [{"type": "brushlabels", "id": "x"}])


def delete_annotations(studio: SimulatedServer) -> None:
    studio.delete_annotations(1)


def delete_a_task(studio: SimulatedServer) -> None:
    del studio.tasks[5]


CHANGES = (annotate_one, add_a_task, cancel_one, draw_something_else, delete_annotations, delete_a_task)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_collected_as_if_everything_was_read(change, collect: Collect, store, tmp_path) -> None:
    studio = SimulatedServer([people(seed) if seed % 4 != 3 else None for seed in range(12)], SIZE_WH)
    before = content(collect(studio, store))
    studio.pass_time(60)
    change(studio)
    after = content(collect(studio, store))
    assert after != before
    assert after == content(collect(studio, Store(tmp_path / "fresh")))


@pytest.mark.parametrize("change", CHANGES)
def test_only_deletions_are_a_reason_to_read_everything(change, collect: Collect, store) -> None:
    studio = SimulatedServer([people(seed) for seed in range(12)], SIZE_WH)
    collect(studio, store)
    studio.pass_time(60)
    change(studio)
    studio.served = 0
    collect(studio, store)
    assert studio.served == (len(studio.tasks) if change in (delete_annotations, delete_a_task) else 1)


def test_a_change_that_is_saved_late_is_read(collect: Collect, store) -> None:
    """A slow transaction is saved with the time at which it began, when later times were already read."""
    studio = SimulatedServer([people(0), None], SIZE_WH)
    collect(studio, store)
    began = studio.stamp()
    studio.pass_time(1)
    collect(studio, store)
    (annotation,) = studio.tasks[1]["annotations"]
    annotation["result"], annotation["updated_at"] = people(1, num_persons=1), began
    studio.tasks[1]["updated_at"] = began
    assert collect(studio, store).annotations.num_persons == 1


def test_everything_is_read_once_a_day_and_under_another_policy(collect, store) -> None:
    studio = SimulatedServer([people(seed) for seed in range(6)], SIZE_WH)
    for minutes, policy, expected in (
        (0, Policy.latest, 6),
        (60, Policy.latest, 0),
        (25 * 60, Policy.latest, 6),
        (60, Policy.agreement, 6),
        (60, Policy.agreement, 0),
    ):
        studio.pass_time(minutes)
        studio.served = 0
        assert len(collect(studio, store, policy).annotations) == 6
        assert studio.served == expected


def test_files_of_many_passes_become_one(collect: Collect, store, monkeypatch) -> None:
    monkeypatch.setattr("pipeline.task_log.MAX_PARTS", 3)
    studio = SimulatedServer([people(seed) for seed in range(3)], SIZE_WH)
    for number in range(8):
        collect(studio, store)
        studio.pass_time(10)
        studio.annotate(1, people(number))
    (folder,) = store.folders("collected")
    assert len(store.names(f"collected/{folder}")) < 6
    assert len(collect(studio, store).annotations) == 3


def test_a_pass_that_was_killed_is_done_again(collect: Collect, store, monkeypatch) -> None:
    studio = SimulatedServer([people(0), None], SIZE_WH)
    collect(studio, store)
    studio.pass_time(10)
    studio.annotate(2, people(1))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        collect(studio, store)
    studio.pass_time(60)
    assert len(collect(studio, store).annotations) == 2


def test_of_300_tasks_the_30_that_changed_are_read(collect: Collect, store) -> None:
    results = [people(seed) for seed in range(30)]
    studio = SimulatedServer([results[number % 30] for number in range(300)], SIZE_WH)
    collect(studio, store)
    studio.pass_time(60)
    for number in range(1, 31):
        studio.annotate(number, results[-number])
    studio.served = 0
    assert len(collect(studio, store).annotations) == 300
    assert studio.served == 30


@pytest.mark.cluster
def test_a_real_label_studio_tells_what_changed(
    empty_label_studio: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(empty_label_studio, tmp_path / "studio")
    with LabelStudioServer(tmp_path / "studio") as server, LabelStudio(server.url, server.token) as client:
        monkeypatch.setenv(collecting.TOKEN, server.token)
        project = client.create_project("Poses", labelling_interface(SKELETON))["id"]
        tasks = [make_task(f"/{name}.jpg", SIZE_WH, file_name=f"{name}.jpg") for name in "abcdef"]
        ids = client.import_tasks(project, tasks)
        annotations = [client.submit_annotation(number, people(number))["id"] for number in ids[:5]]
        headers = {"Authorization": f"Token {server.token}"}

        def send(method: str, path: str, **body: Any) -> None:
            httpx.request(method, f"{server.url}{path}", json=body, headers=headers).raise_for_status()

        def change(name: str, result: list[dict[str, Any]]) -> None:
            send("PATCH", f"/api/annotations/{annotations['abcdef'.index(name)]}/", result=result)

        changes: list[Callable[[], object]] = [
            lambda: client.submit_annotation(ids[5], people(70)),
            lambda: change("b", people(71, 1)),
            lambda: send("PATCH", f"/api/annotations/{annotations[0]}/", ground_truth=True),
            lambda: send("DELETE", f"/api/annotations/{annotations[2]}/"),
            lambda: client.delete_task(ids[3]),
            lambda: client.import_tasks(project, [make_task("/g.jpg", SIZE_WH, file_name="g.jpg")]),
        ]
        for number, make_change in enumerate([lambda: None, *changes]):
            make_change()
            kept, fresh = (
                collecting.collect(collecting.Project(server.url, "Poses"), tiny_model, Store(tmp_path / name))
                for name in ("kept", f"fresh{number}")
            )
            assert content(kept) == content(fresh)
        assert [image.file_name for image in kept.annotations.images] == ["a.jpg", "b.jpg", "e.jpg", "f.jpg"]
