"""What annotating took, by Label Studio's clock."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.tasks import make_prediction
from integrations.label_studio.times import AnnotationTimes, read_times

SIZE_WH = (640, 480)


def export(folder: Path, *annotations: dict[str, Any]) -> Path:
    """An export with one task for each annotation."""
    data = {"image": "/data/a.jpg"}
    tasks = [
        {"id": n, "data": data, "annotations": [{"id": n, "updated_at": "2026-01-01"} | one]}
        for n, one in enumerate(annotations, start=1)
    ]
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


@pytest.fixture
def submitted(skeleton: Skeleton, make_pose: Any) -> Any:
    def submit(num_persons: int, num_placed: int, lead_time: float | None, model_version: str = "v1") -> dict[str, Any]:
        """An annotation of persons with some keypoints placed on each."""
        boxes = [(64, 48, 256, 432), (340, 48, 560, 432)][:num_persons]
        poses = [replace(make_pose(box), held=np.arange(17) < num_placed) for box in boxes]
        result = make_prediction(poses, skeleton, SIZE_WH, model_version=model_version)["result"]
        return {"result": result, "lead_time": lead_time}

    return submit


def test_seconds_are_divided_among_persons_and_among_what_humans_set(
    tmp_path: Path, skeleton: Skeleton, submitted: Any
) -> None:
    (times,) = read_times(export(tmp_path, submitted(2, 3, 30.0), submitted(1, 0, 6.0)), skeleton)
    assert times == AnnotationTimes(
        "v1",
        annotator="",
        num_annotations=2,
        num_untimed=0,
        num_persons=3,
        num_clicks=6,
        seconds=36.0,
        mean_s=10.5,  # of 15 and 6 seconds per person
        deviation_s=pytest.approx(4.5 * 2**0.5),
    )
    assert (times.seconds_per_person, times.seconds_per_click, times.clicks_per_person) == (12.0, 6.0, 2.0)
    assert json.loads(json.dumps(times.to_dict()))["seconds_per_person"] == 12.0


def test_each_model_has_its_own_row(tmp_path: Path, skeleton: Skeleton, submitted: Any) -> None:
    path = export(tmp_path, submitted(1, 1, 9.0), submitted(1, 17, 60.0, ""), submitted(1, 1, 5.0, "v0"))
    times = {one.model_version: one.seconds for one in read_times(path, skeleton)}
    assert times == {"": 60.0, "v0": 5.0, "v1": 9.0}


def test_annotators_of_the_same_task_are_kept_apart(tmp_path: Path, skeleton: Skeleton, submitted: Any) -> None:
    path = export(tmp_path, submitted(1, 1, 4.0), submitted(1, 1, 8.0))
    (first, second), others = json.loads(path.read_text()), (3.0, 5.0)
    first["annotations"][0]["completed_by"] = second["annotations"][0]["completed_by"] = {"email": "ada"}
    for task, seconds in zip((first, second), others, strict=True):
        other = {**task["annotations"][0], "id": 10 * task["id"], "lead_time": seconds}
        task["annotations"].append(other | {"completed_by": {"email": "bob"}})
    first["annotations"].append({**first["annotations"][0], "id": 30, "was_cancelled": True})
    path.write_text(json.dumps([first, second]))
    together, ada, bob = read_times(path, skeleton)
    assert [(one.annotator, one.num_annotations, one.mean_s) for one in (together, ada, bob)] == [
        ("", 4, 5.0),
        ("ada", 2, 6.0),
        ("bob", 2, 4.0),
    ]
    assert together.deviation_of_annotators_s == pytest.approx(2**0.5)
    assert ada.deviation_s == pytest.approx(8**0.5) and ada.deviation_of_annotators_s is None


def test_an_annotation_without_a_time_is_counted_apart(tmp_path: Path, skeleton: Skeleton, submitted: Any) -> None:
    (times,) = read_times(export(tmp_path, submitted(1, 1, None), submitted(1, 2, 8.0)), skeleton)
    assert (times.num_annotations, times.num_untimed, times.num_persons, times.num_clicks) == (1, 1, 1, 2)


def test_nothing_set_by_hand_has_no_time_a_click(tmp_path: Path, skeleton: Skeleton, submitted: Any) -> None:
    (times,) = read_times(export(tmp_path, submitted(1, 0, 4.0)), skeleton)
    assert times.seconds_per_click is None and times.seconds_per_person == 4.0


def test_images_without_people_have_no_time_per_person(tmp_path: Path, skeleton: Skeleton) -> None:
    task = {"id": 1, "data": {"image": "a.jpg", "width": 9, "height": 9}, "annotations": [{"id": 2, "result": []}]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    assert read_times(path, skeleton) == []


def test_what_is_no_export_is_refused(tmp_path: Path, skeleton: Skeleton) -> None:
    path = tmp_path / "export.json"
    for content, message in (
        ("{}", "a list of tasks"),
        ("nothing", "cannot be read"),
        ('[{"id": 1, "image": "a.jpg", "keypoints": []}]', "their 'annotations'"),
    ):
        path.write_text(content)
        with pytest.raises(InvalidAnnotation, match=rf"export\.json.*{message}"):
            read_times(path, skeleton)


def test_a_task_that_cannot_be_read_is_logged_and_left_out(tmp_path: Path, skeleton: Skeleton, caplog: Any) -> None:
    (tmp_path / "export.json").write_text('[{"annotations": [{}]}]')
    assert read_times(tmp_path / "export.json", skeleton) == []
    assert "export.json: left out: task None" in caplog.text
