"""Annotations made with other interfaces than ours: what cannot be a person here is reported, and never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from clickpose.annotations import AnnotatedImage
from clickpose.skeleton import Skeleton
from integrations.label_studio.export import Export, read_export

COCO = Skeleton.load("coco17")


def point(label: str, x: float = 30.0, **more: Any) -> dict[str, Any]:
    """A keypoint, in percent, at the middle of a box at the same ``x``."""
    value = {"x": x, "y": 40.0, "width": 0.5, "keypointlabels": [label]}
    return {"id": f"{label}-{x}", "type": "keypointlabels", "to_name": "image", "value": value} | more


def box(x: float = 20.0, label: str = "person", **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": 10.0, "width": 20.0, "height": 60.0, "rectanglelabels": [label]}
    return {"id": f"box-{x}", "type": "rectanglelabels", "to_name": "image", "value": value} | more


def choice(point_id: str, *choices: Any) -> dict[str, Any]:
    return {"id": point_id, "type": "choices", "to_name": "image", "value": {"choices": list(choices)}}


def read(*result: Any, **data: Any) -> Export:
    data = {"image": "/data/upload/3/1.jpg", "width": 640, "height": 480} | data
    return read_export([{"id": 1, "data": data, "annotations": [{"id": 1, "result": list(result)}]}], COCO)


def image_of(export: Export) -> AnnotatedImage:
    (annotation,) = export.annotations
    return annotation.image


def labels_of(export: Export) -> list[list[str]]:
    """The names of the labelled keypoints of each person."""
    people = image_of(export).persons
    return [[name for name, v in zip(COCO.keypoints, one.visibility, strict=True) if v] for one in people]


def test_two_regions_with_one_id_are_two_regions() -> None:
    export = read(
        box(), point("nose", id="x"), point("left_eye", 31, id="x"), box(60, id="box-20.0"), point("nose", 70)
    )
    assert labels_of(export) == [["nose", "left_eye"], ["nose"]]
    assert not export.left_out


@pytest.mark.parametrize("other", [{"to_name": "image2"}, {"item_index": 1}], ids=["another tag", "another page"])
def test_regions_of_another_image_of_the_task_are_told_and_left_out(other: dict[str, Any]) -> None:
    size = {"original_width": 50, "original_height": 90}
    export = read(box(60, **other, **size), point("nose", 70, **other), box(), point("left_eye"))
    assert labels_of(export) == [["left_eye"]]
    assert image_of(export).size_wh == (640, 480)
    (sentence,) = export.left_out
    assert sentence.startswith("task 1: 2 regions are on another image of the task")


def test_an_image_may_have_any_name_in_the_interface() -> None:
    export = read(box(to_name="photo"), point("nose", to_name="photo"))
    assert labels_of(export) == [["nose"]] and not export.left_out


def test_boxes_around_other_things_take_no_keypoints_from_persons() -> None:
    things = [box(25, "Helmet"), box(60, "Helmet"), point("left_eye", 70, parentID="box-60")]
    export = read(*things, box(label="Person_easy"), point("nose", 35))
    assert labels_of(export) == [["nose"]]
    assert export.left_out == ("task 1: 2 boxes labelled 'helmet', and the points in them, are no person: left out",)


def test_boxes_are_persons_whatever_they_are_called_if_all_are_called_so() -> None:
    export = read(box(label="Mensch"), point("nose"))
    assert labels_of(export) == [["nose"]] and not export.left_out


def test_visibility_is_read_in_any_case_and_other_choices_are_told() -> None:
    export = read(
        box(), point("nose"), choice("nose-30.0", "Occluded"), point("left_eye"), choice("left_eye-30.0", "dim")
    )
    assert image_of(export).persons[0].visibility[:2].tolist() == [1, 2]
    (sentence,) = export.left_out
    assert "1 points have the choice 'dim', none of absent, occluded, visible" in sentence


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ({"annotations": [5]}, "its 'annotations' are not in the file, only [5]"),
        ({"annotations": 5}, "its 'annotations' are not in the file, only 5"),
        ({"data": {"image": ["a.jpg", "b.jpg"]}}, "no 'image' that is the address of one image"),
        ({"annotations": [{"id": 1, "result": [box(image_rotation=90)]}]}, "turned by 90 degrees in the editor"),
    ],
)
def test_a_task_that_cannot_be_understood_is_left_out_by_number(task: dict[str, Any], told: str) -> None:
    good = {"data": {"image": "a.jpg", "width": 9, "height": 9}, "annotations": [{"id": 1, "result": []}]}
    export = read_export([{"id": 1} | good | task, {"id": 2} | good], COCO)
    assert [read.image.id for read in export.annotations] == [2]
    (sentence,) = export.left_out
    assert sentence.startswith("task 1") and told in sentence


@pytest.mark.parametrize("size", [("640", "480"), (640.0, 480.0)])
def test_the_size_of_an_image_may_be_written_as_tables_and_other_tools_write_it(size: tuple[Any, Any]) -> None:
    width, height = size
    assert image_of(read(box(), width=width, height=height)).size_wh == (640, 480)
    export = read(box(original_width=width, original_height=height), width=None, height=None)
    assert image_of(export).size_wh == (640, 480)
