"""COCO results there and back, and the results that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.coco import results_to_coco
from integrations.coco_results import read_results

STICK = Skeleton("stick", ("top", "end"), (0.1, 0.1))
DATA = AnnotationSet(STICK, (AnnotatedImage(1, "a.jpg", (64, 48)), AnnotatedImage(2, "b.jpg", (64, 48))))


def result(**changes: Any) -> dict[str, Any]:
    """A result of one person; ``changes`` replace its fields, ``...`` leaves one out."""
    fields = {"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": [1, 2, 0.9, 11, 22, 0.8]} | changes
    return {name: value for name, value in fields.items() if value is not ...}


def save(folder: Path, content: Any) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(content))
    return path


def test_there_and_back(tmp_path: Path) -> None:
    records = [result(bbox=[0.0, 1.0, 20.0, 30.0]), result(score=0.25, bbox=[3.0, 4.0, 5.0, 6.0]), result(image_id=2)]
    poses = read_results(save(tmp_path, records), DATA)
    assert {id: [pose.score for pose in found] for id, found in poses.items()} == {1: [0.5, 0.25], 2: [0.5]}
    again = read_results(save(tmp_path, results_to_coco(poses)), DATA)
    for id, found in poses.items():
        for one, other in zip(found, again[id], strict=True):
            for name in ("keypoints_px", "scores", "box_px"):
                assert np.array_equal(getattr(one, name), getattr(other, name))


def test_without_a_box_it_is_the_one_around_the_keypoints(tmp_path: Path) -> None:
    (pose,) = read_results(save(tmp_path, [result()]), DATA)[1]
    assert pose.box_px.tolist() == [1, 2, 11, 22]
    assert pose.visibility.tolist() == [2, 2] and not pose.held.any()


def test_a_keypoint_of_zeros_was_not_found(tmp_path: Path) -> None:
    (pose,) = read_results(save(tmp_path, [result(keypoints=[0, 0, 0, 11, 22, 0.8])]), DATA)[1]
    assert pose.visibility.tolist() == [0, 2]
    assert pose.box_px.tolist() == [11, 22, 11, 22]
    (nothing,) = read_results(save(tmp_path, [result(keypoints=[0] * 6)]), DATA)[1]
    assert nothing.visibility.tolist() == [0, 0]


def test_an_image_may_be_named_by_its_file(tmp_path: Path) -> None:
    assert list(read_results(save(tmp_path, [result(image_id="b.jpg")]), DATA)) == [2]


def test_no_results_are_no_poses(tmp_path: Path) -> None:
    assert read_results(save(tmp_path, []), DATA) == {}


def test_results_of_other_categories_are_left_out(tmp_path: Path) -> None:
    path = save(tmp_path, [result(score=0.2), result(category_id=0, score=0.9), result(category_id=..., score=0.3)])
    assert [pose.score for pose in read_results(path, DATA)[1]] == [0.2, 0.3]
    assert [pose.score for pose in read_results(path, DATA, categories=[0])[1]] == [0.9, 0.3]
    with pytest.raises(InvalidAnnotation, match=r"results\.json: no result has field 'category_id' 7"):
        read_results(save(tmp_path, [result()]), DATA, categories=[7])


@pytest.mark.parametrize("scores", [[2.97, 0.4, 1.1], [-3.0, -0.5, 2.0], [-9.0, -1.0, -4.0]])
def test_scores_of_any_size_keep_their_ranks(tmp_path: Path, scores: list[float]) -> None:
    read = [pose.score for pose in read_results(save(tmp_path, [result(score=s) for s in scores]), DATA)[1]]
    assert np.argsort(read).tolist() == np.argsort(scores).tolist()
    assert all(0 <= score <= 1 for score in read)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 7}, "result 1: field 'image_id' names image 7, which is not in the data set"),
        ({"image_id": "c.jpg"}, "result 1: field 'image_id' names image c.jpg, which is not in the data set"),
        ({"image_id": ...}, "result 1: field 'image_id' is missing"),
        ({"category_id": "person"}, "result 1: field 'category_id' is 'person', an integer is expected"),
        ({"keypoints": [1.0] * 51}, "result 1: field 'keypoints' has 51 values, 6 numbers are expected"),
        ({"keypoints": [1, 2, 3, 4, 5, None]}, "result 1: field 'keypoints' contains"),
        ({"score": ...}, "result 1: field 'score' is missing"),
        ({"score": "high"}, "result 1: field 'score' contains"),
        ({"bbox": [1, 2, 3]}, "result 1: field 'bbox' has 3 values"),
        ({"bbox": [1, 2, -3, 4]}, "result 1: field 'bbox' has a negative"),
    ],
)
def test_a_bad_result_is_refused_by_file_place_and_field(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(InvalidAnnotation, match=f"results.json: {message}"):
        read_results(save(tmp_path, [result(), result(**changes)]), DATA)


@pytest.mark.parametrize("content", [{"annotations": []}, ["person"], 3])
def test_what_is_no_list_of_results_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InvalidAnnotation, match=r"results\.json.* expected"):
        read_results(save(tmp_path, content), DATA)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidAnnotation, match=r"nowhere\.json cannot be read"):
        read_results(tmp_path / "nowhere.json", DATA)
