"""What was handed in is read or told: persons without a box, deleted persons, and what no person is made of."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from clickpose.errors import ImageError
from clickpose.skeleton import Skeleton
from integrations.label_studio.export import Export, once_per_image, read_export
from integrations.label_studio.people import People
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.submitted import read_submitted

SIZE_WH = (640, 480)
COCO = Skeleton.load("coco17")


def read(*result: Any) -> People:
    return read_submitted(list(result), COCO, SIZE_WH)


def point(label: str, x: float = 30.0, y: float = 40.0, **more: Any) -> dict[str, Any]:
    """A keypoint drawn by hand, in percent; its regions tell no size."""
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    return {"id": f"drawn-{label}", "type": "keypointlabels", "value": value} | more


def box(name: str = "drawn-box", x: float = 20.0, y: float = 10.0, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 20, "height": 60, "rectanglelabels": ["person"]} | more
    return {"id": name, "type": "rectanglelabels", "value": value}


def body(dx: float = 0.0, **more: Any) -> list[dict[str, Any]]:
    return [point(name, 22 + dx + i, 15 + 3 * i, **more) for i, name in enumerate(COCO.keypoints)]


def predicted(*poses: Any) -> list[dict[str, Any]]:
    return poses_to_result(poses, COCO, SIZE_WH, model_version="v1")


def test_points_without_a_box_are_a_person() -> None:
    people = read(*body())
    (pose,) = people.poses(COCO)
    assert (pose.visibility == 2).all() and pose.held.all()
    assert pose.keypoints_px[0].tolist() == pytest.approx([0.22 * 640, 0.15 * 480])
    assert pose.box_px.tolist() == pytest.approx([*pose.keypoints_px.min(0), *pose.keypoints_px.max(0)])
    assert not people.flagged


def test_a_person_without_a_box_stands_beside_those_with_one() -> None:
    people = read(box(), *body(parentID="drawn-box"), *[p | {"id": f"far-{p['id']}"} for p in body(dx=40)])
    assert [person.box is None for person in people.persons.values()] == [False, True]
    assert not people.flagged


def test_points_beside_their_box_belong_to_it() -> None:
    people = read(box(), point("left_ankle", 30, 75), point("nose", 30, 6))
    assert len(people.persons[0].points) == 2 and not people.flagged


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (
            [*body(), *[p | {"id": f"two-{p['id']}"} for p in body(dx=40)]],
            r"34 points belong to no person \(nose, .*draw a box",
        ),
        ([point("nose")], "1 points belong to no person"),
        ([point("l_eye")], "labelled l_eye, which skeleton coco17 does not have"),
        ([{"id": "e", "type": "ellipselabels", "value": {"x": 1, "y": 1}}], "region e is of type 'ellipselabels'"),
        ([{"type": "brushlabels"}], "region 0 is of type 'brushlabels'"),
        (["nonsense"], "region 0 is 'nonsense'"),
    ],
)
def test_what_makes_no_person_is_told(result: list[Any], told: str) -> None:
    people = read(*result)
    assert not people.persons
    assert len(people.flagged) == 1 and re.search(told, people.flagged[0])


def test_what_a_failed_click_left_on_a_prediction_is_told_and_no_person(make_pose: Any) -> None:
    people = read(*predicted(make_pose()), point("nose", 90, 90), point("left_eye", 92, 90))
    assert list(people.persons) == [0]
    assert "2 points belong to no person" in people.flagged[0]


@pytest.mark.parametrize("drawn", [False, True], ids=["predicted", "drawn"])
def test_points_of_a_person_whose_box_was_deleted_do_not_come_back(make_pose: Any, drawn: bool) -> None:
    deleted = body(parentID="gone") if drawn else predicted(make_pose())[:-1]
    stays = predicted(make_pose(), make_pose((340, 48, 560, 432), seed=1))
    stays = [item for item in stays if item["id"].startswith("p1")]
    people = read(*deleted, *stays)
    assert list(people.persons) == [1]
    assert people.flagged == (f"the box {'gone' if drawn else 'p0'} was deleted, and its 17 points with it",)


def test_no_person_is_left_when_the_only_box_is_deleted_even_if_its_points_were_placed(make_pose: Any) -> None:
    placed = [item | {"meta": item["meta"] | {"held": True}} for item in predicted(make_pose())[:-1]]
    assert not read(*placed).persons


def test_regions_are_read_without_ids_and_sizes_and_whatever_kind_of_id_they_have() -> None:
    nameless = [{name: value for name, value in region.items() if name != "id"} for region in body()]
    assert len(read(*nameless).persons[0].points) == 17
    numbered = [region | {"id": i, "parentID": 99} for i, region in enumerate(body())]
    assert len(read(box() | {"id": 99}, *numbered).persons[0].points) == 17


def test_a_turned_box_is_the_upright_one_around_it() -> None:
    value = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 90, "rectanglelabels": ["person"]}
    (pose,) = read({"id": "b", "type": "rectanglelabels", "value": value}).poses(COCO)
    assert pose.box_px.tolist() == pytest.approx([320 - 120, 240, 320, 240 + 160])


def task(number: int, result: Any, **data: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": f"/data/upload/3/{number}.jpg", **data},
        "annotations": [{"id": number, "result": result}],
    }


def export_of(*tasks: dict[str, Any], **more: Any) -> Export:
    return read_export(tasks, COCO, **more)


def test_a_task_that_cannot_be_read_is_set_aside_and_the_others_go_on() -> None:
    export = export_of(task(1, body(), width=640, height=480), task(2, []), task(3, body(), width=64, height=48))
    assert [read.image.id for read in export.annotations] == [1, 3]
    (sentence,) = export.left_out
    assert sentence.startswith("task 2, annotation 2: the image's size is in no region")


def test_a_size_that_nothing_tells_is_that_of_the_image() -> None:
    def size_of(address: str) -> tuple[int, int]:
        if address != "/data/upload/3/1.jpg":
            raise ImageError(f"{address} cannot be opened")
        return 320, 240

    export = export_of(task(1, []), task(2, []), size_of=size_of)
    (read,) = export.annotations
    assert (read.image.size_wh, read.image.persons) == ((320, 240), ())
    (sentence,) = export.left_out
    assert sentence.startswith("task 2") and sentence.endswith("/data/upload/3/2.jpg cannot be opened")


def test_one_region_that_tells_the_size_tells_it_for_all() -> None:
    regions = body()
    regions[5] |= {"original_width": 320, "original_height": 240}
    (read,) = export_of(task(1, regions, width=640, height=480)).annotations
    assert read.image.size_wh == (320, 240)
    assert np.allclose(read.image.persons[0].keypoints_px[0], [0.22 * 320, 0.15 * 240])


def test_findings_are_listed_by_task() -> None:
    export = export_of(task(7, [*body(), point("tail")], width=640, height=480))
    assert len(export.annotations) == 1
    assert [sentence.split(":")[0] for sentence in export.left_out] == ["task 7"]


def test_of_two_tasks_with_one_image_the_one_saved_last_counts() -> None:
    tasks = [task(number, body(), width=64, height=48, file_name="cam1/a.jpg") for number in (1, 2, 3)]
    tasks[2]["data"]["file_name"] = "cam2/a.jpg"
    for one, saved in zip(tasks, ("2026-02", "2026-01", "2026-03"), strict=True):
        one["annotations"][0]["updated_at"] = saved
    export = once_per_image(export_of(*tasks))
    assert [read.image.id for read in export.annotations] == [1, 3]
    assert export.left_out == ("task 2: cam1/a.jpg is the image of task 1, too, which was saved later",)
