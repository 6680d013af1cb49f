"""Tasks to import, annotations to learn from, and who did what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.addresses import name_in_url
from integrations.label_studio.export import read_annotation, read_export, to_annotation_set
from integrations.label_studio.tasks import make_prediction, make_task

SIZE_WH = (640, 480)


def task_with(result: list[dict[str, Any]], **annotation: Any) -> dict[str, Any]:
    """A task with one annotation."""
    submitted = {
        "id": 7,
        "completed_by": 1,
        "result": result,
        "lead_time": 12.5,
        "updated_at": "2026-11-21T05:38:38Z",
        "prediction": {"model_version": "base-v1"},
    }
    data = {"image": "/data/local-files/?d=images/img0.jpg"}
    return {"id": 13, "data": data, "annotations": [submitted | annotation]}


def test_record_of_each_keypoint_tells_who_set_it(skeleton: Skeleton, make_pose: Any) -> None:
    pose = replace(make_pose(), held=np.arange(17) == 9)
    result = make_prediction([pose], skeleton, SIZE_WH, model_version="v2")["result"]
    items = {item["id"]: item for item in result}
    items["p0_nose"]["value"]["y"] += 2.0
    items["p0_left_eye_choice"] = items["p0_left_eye"] | {"type": "choices", "value": {"choices": ["occluded"]}}
    del items["p0_right_eye"]

    (read,) = read_export([task_with(list(items.values()))], skeleton).annotations

    sources = {record.keypoint: record.source for record in read.records}
    assert sources.pop("left_wrist") == "placed"
    assert sources.pop("nose") == "moved"
    assert sources.pop("left_eye") == "judged"
    assert sources.pop("right_eye") == "deleted"
    assert len(sources) == 13 and set(sources.values()) == {"accepted"}
    first = read.records[0]
    assert (first.user, first.model_version, first.lead_time_s) == ("1", "v2", 12.5)
    assert (first.image_id, first.annotation_id, first.person_id) == (13, 7, 70000)


def test_annotation_becomes_a_image_of_a_data_set(skeleton: Skeleton, make_pose: Any) -> None:
    found = [make_pose(), make_pose((340, 48, 560, 432), seed=1)]
    result = make_prediction(found, skeleton, SIZE_WH, model_version="v1")["result"]
    annotations = to_annotation_set(read_export([task_with(result)], skeleton).annotations, skeleton)
    (image,) = annotations.images
    assert (image.id, image.file_name, image.size_wh) == (13, "images/img0.jpg", SIZE_WH)
    assert [person.id for person in image.persons] == [70000, 70001]
    assert np.array_equal(image.persons[1].keypoints_px, found[1].keypoints_px)
    assert image.persons[0].area_px == pytest.approx(0.53 * 192 * 384)


def test_the_annotation_that_counts(skeleton: Skeleton) -> None:
    task = make_task("/a.jpg", SIZE_WH, file_name="a.jpg") | {"id": 1}

    def chosen(*annotations: dict[str, Any]) -> list[int]:
        made = [{"id": i, "result": [], **one} for i, one in enumerate(annotations)]
        return [read.annotation_id for read in read_export([task | {"annotations": made}], skeleton).annotations]

    old, new = {"updated_at": "2026-01-01"}, {"updated_at": "2026-02-01"}
    assert chosen(old, new) == [1]
    assert chosen(old | {"ground_truth": True}, new) == [0]
    assert chosen(old, new | {"was_cancelled": True}) == [0]
    assert chosen() == []


def test_image_without_people_keeps_its_size(skeleton: Skeleton) -> None:
    task = make_task("/a.jpg", SIZE_WH, file_name="a.jpg") | {"id": 1}
    read = read_annotation(task, {"id": 2, "result": []}, skeleton)
    assert (read.image.size_wh, read.image.persons, read.records) == (SIZE_WH, (), ())


@pytest.mark.parametrize(
    ("task", "annotation", "message"),
    [
        ({"id": 1, "data": {"image": "a.jpg"}}, {"id": 2}, "task 1, annotation 2: the image's size is in no region"),
        ({"id": 1, "data": {"width": 9, "height": 9}}, {"id": 2}, "task 1, annotation 2: .* no 'image'"),
        ({"data": {"image": "a.jpg"}}, {"id": 2}, "task None, annotation 2: field 'id' is None"),
        ({"id": 1, "data": {"image": "a.jpg"}}, {"id": "x"}, "task 1, annotation x: field 'id' is 'x'"),
    ],
)
def test_task_that_cannot_be_used_is_refused(
    skeleton: Skeleton, task: dict[str, Any], annotation: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidAnnotation, match=message):
        read_annotation(task, annotation, skeleton)


def test_prediction_scores_the_confidence_of_its_keypoints(skeleton: Skeleton, make_pose: Any) -> None:
    sure = replace(make_pose(), scores=np.full(17, 0.9, np.float32))
    prediction = make_prediction([make_pose(), sure], skeleton, SIZE_WH, model_version="v1")
    assert prediction["score"] == pytest.approx(0.7)
    assert make_prediction([], skeleton, SIZE_WH, model_version="v1")["score"] == 1.0  # nothing to correct
    assert make_prediction([sure], skeleton, SIZE_WH, model_version="v1", score=0.1)["score"] == 0.1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/local-files/?d=images/a%20b.jpg", "images/a b.jpg"),
        ("/data/upload/3/abc-name.jpg", "data/upload/3/abc-name.jpg"),
        ("https://host/x/y.png?sig=1", "x/y.png"),
    ],
)
def test_name_in_url(url: str, name: str) -> None:
    assert name_in_url(url) == name
