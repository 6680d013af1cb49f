"""Poses to Label Studio regions and back, and whose point is whose when the annotator drew or deleted some."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.interface import image_key_of, labelling_interface
from integrations.label_studio.people import People, read_people
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.service import gap, is_gap

SIZE_WH = (641, 479)
COCO = Skeleton.load("coco17")


def same(one: Pose, other: Pose) -> bool:
    return (
        np.array_equal(one.keypoints_px, other.keypoints_px)
        and np.array_equal(one.visibility, other.visibility)
        and np.array_equal(one.held, other.held)
        and np.allclose(one.box_px, other.box_px, atol=1e-3)
        and np.array_equal(one.scores, other.scores)
    )


@st.composite
def poses(draw: Any) -> Pose:
    def numbers(low: int, high: int, count: int) -> Any:
        return np.array(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    held = numbers(0, 1, 17).astype(bool)
    return Pose(
        keypoints_px=(numbers(1, 640_000, 34) / 1000).astype(np.float32).reshape(17, 2),
        visibility=numbers(0, 2, 17),
        scores=np.where(held, 1, numbers(0, 99, 17) / 100).astype(np.float32),
        box_px=np.sort((numbers(1, 640, 4)).astype(np.float32).reshape(2, 2), axis=0).reshape(4),
        score=0.5,
        held=held,
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(poses(), st.just(gap(17))), max_size=3))
def test_poses_return_with_every_digit_and_under_their_number(written: list[Pose]) -> None:
    people = read_people(poses_to_result(written, COCO, SIZE_WH), COCO)
    read = people.poses(COCO)
    while written and is_gap(written[-1]):
        written = written[:-1]
    assert not people.flagged
    assert len(read) == len(written)
    assert all(map(same, read, written))


def test_a_held_point_does_not_drift_however_often_it_travels(make_pose: Any) -> None:
    pose = replace(make_pose(), held=np.ones(17, np.bool_), scores=np.ones(17, np.float32))
    travelled = pose
    for _ in range(20):
        (travelled,) = read_people(poses_to_result([travelled], COCO, SIZE_WH), COCO).poses(COCO)
    assert np.array_equal(travelled.keypoints_px, pose.keypoints_px)


def screen(*found: Pose) -> list[dict[str, Any]]:
    return poses_to_result(found, COCO, SIZE_WH, model_version="v1")


def find(result: list[dict[str, Any]], region_id: str) -> dict[str, Any]:
    return next(item for item in result if item["id"] == region_id)


def without(result: list[dict[str, Any]], *ids: str) -> list[dict[str, Any]]:
    return [item for item in result if item["id"] not in ids]


def drawn_point(label: str, xy_px: tuple[float, float], **more: Any) -> dict[str, Any]:
    place = {"x": 100 * xy_px[0] / SIZE_WH[0], "y": 100 * xy_px[1] / SIZE_WH[1], "width": 0.5}
    size = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1]}
    value = place | {"keypointlabels": [label]}
    return {"id": "kJ3xQ9aBcD", "type": "keypointlabels", "origin": "manual", "value": value} | size | more


def held(people: People, person: int = 0) -> list[str]:
    return [COCO.keypoints[k] for k in np.flatnonzero(people.poses(COCO)[person].held)]


def test_dragged_point_is_held(make_pose: Any) -> None:
    result = screen(make_pose())
    find(result, "p0_nose")["value"]["x"] += 0.1
    assert held(read_people(result, COCO)) == ["nose"]


def test_changed_visibility_is_held(make_pose: Any) -> None:
    result = screen(make_pose())
    choice = {"id": "p0_nose", "type": "choices", "value": {"choices": ["occluded"]}}
    people = read_people([*result, choice], COCO)
    assert people.poses(COCO)[0].visibility[0] == 1
    assert held(people) == ["nose"]


def test_deleted_point_is_absent_held_and_does_not_come_back(make_pose: Any) -> None:
    people = read_people(without(screen(make_pose()), "p0_nose"), COCO)
    (pose,) = people.poses(COCO)
    assert (pose.visibility[0], held(people)) == (0, ["nose"])
    assert "p0_nose" not in {item["id"] for item in screen(pose)}


def test_a_keypoint_that_was_never_asked_about_is_not_held(make_pose: Any) -> None:
    result = screen(make_pose())
    grown = Skeleton.load("humanart21")
    (pose,) = read_people(result, grown).poses(grown)
    assert pose.visibility[17:].tolist() == [0] * 4
    assert not pose.held.any()


def test_deleted_person_leaves_a_gap(make_pose: Any) -> None:
    result = [item for item in screen(make_pose(), make_pose(seed=1)) if not item["id"].startswith("p0")]
    first, second = read_people(result, COCO).poses(COCO)
    assert is_gap(first) and same(second, make_pose(seed=1))


def test_points_keep_together_after_their_box_was_deleted(make_pose: Any) -> None:
    people = read_people(without(screen(make_pose()), "p0"), COCO)
    (pose,) = people.poses(COCO)
    assert np.array_equal(pose.keypoints_px, make_pose().keypoints_px)
    assert pose.box_px[:2].tolist() == make_pose().keypoints_px.min(0).tolist()


def test_drawn_point_joins_the_person_who_lacks_it(make_pose: Any) -> None:
    here = make_pose((0, 0, 200, 400)), make_pose((100, 0, 300, 400), seed=1)
    result = [*without(screen(*here), "p1_nose"), drawn_point("nose", (110.0, 50.0))]
    people = read_people(result, COCO)
    assert people.poses(COCO)[1].keypoints_px[0].tolist() == pytest.approx([110, 50])
    assert held(people, 1) == ["nose"]
    assert not people.flagged
    written = poses_to_result(people.poses(COCO), COCO, SIZE_WH, ids=people.ids(COCO))
    assert "kJ3xQ9aBcD" in {item["id"] for item in written}
    assert "p1_nose" not in {item["id"] for item in written}


@pytest.mark.parametrize(
    ("stray", "why"),
    [
        (drawn_point("nose", (150.0, 100.0), parentID="p0"), "second nose of p0"),
        (drawn_point("tail", (150.0, 100.0)), "is labelled tail"),
        (drawn_point("nose", (150.0, 100.0), value={"x": None}), "is malformed: value.x"),
        (drawn_point("nose", (150.0, 100.0), original_width=None), "is malformed: original_width"),
    ],
)
def test_stray_point_is_flagged_and_no_person(make_pose: Any, stray: dict[str, Any], why: str) -> None:
    people = read_people([*screen(make_pose()), stray], COCO)
    assert len(people.persons) == 1
    assert len(people.flagged) == 1 and why in people.flagged[0]


@pytest.mark.parametrize("xy_px", [(150.0, 100.0), (600.0, 400.0)])  # the one person there has a nose
def test_a_point_that_no_person_lacks_is_loose(make_pose: Any, xy_px: tuple[float, float]) -> None:
    people = read_people([*screen(make_pose()), drawn_point("nose", xy_px)], COCO)
    assert [point.xy_px for point in people.loose] == [pytest.approx(xy_px)]
    assert len(people.persons) == 1


def test_a_label_put_on_all_persons_names_none(make_pose: Any) -> None:
    """Label Studio puts the label that is selected when an answer arrives on all of it."""
    answered = screen(make_pose())
    for item in answered[:-1]:
        item["value"] = item["value"] | {"keypointlabels": ["left_wrist"]}
    answered.append(answered[-1] | {"type": "keypointlabels", "value": answered[0]["value"]})
    answered.append(answered[0] | {"type": "rectanglelabels"})
    people = read_people(answered, COCO)
    assert same(people.poses(COCO)[0], make_pose())
    assert not people.flagged


def test_left_and_right_are_swapped_by_two_labels_and_not_by_one(make_pose: Any) -> None:
    regions = {item["id"]: item for item in screen(make_pose())}
    left, right = COCO.index("left_wrist"), COCO.index("right_wrist")

    regions["p0_left_wrist"]["value"]["keypointlabels"] = ["right_wrist"]
    assert same(read_people(list(regions.values()), COCO).poses(COCO)[0], make_pose())
    regions["p0_right_wrist"]["value"]["keypointlabels"] = ["left_wrist"]
    (swapped,) = read_people(list(regions.values()), COCO).poses(COCO)
    assert np.array_equal(swapped.keypoints_px[[left, right]], make_pose().keypoints_px[[right, left]])


def test_person_drawn_by_hand_keeps_its_number_once_answered(make_pose: Any) -> None:
    size = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1]}
    value = {"x": 50, "y": 10, "width": 20, "height": 50, "rectanglelabels": ["person"]}
    box = {"id": "bOx7hAnd00", "type": "rectanglelabels", "value": value} | size
    nose = drawn_point("nose", (350.0, 60.0), parentID="bOx7hAnd00")
    people = read_people([*screen(make_pose()), box, nose], COCO)
    answered = poses_to_result(people.poses(COCO), COCO, SIZE_WH, ids=people.ids(COCO))
    assert {"bOx7hAnd00", "kJ3xQ9aBcD"} <= {item["id"] for item in answered}

    smaller = [item for item in answered if not item["id"].startswith("p0")]
    assert list(read_people(smaller, COCO).persons) == [1]


@pytest.mark.parametrize("name", ["coco17", "crowdpose14", "humanart21", "wholebody133"])
def test_interface_has_every_keypoint_and_no_hotkey_twice(name: str) -> None:
    skeleton = Skeleton.load(name)
    view = ElementTree.fromstring(labelling_interface(skeleton, image_key="photo"))
    labels = view.findall("KeyPointLabels/Label")
    assert [label.get("value") for label in labels] == list(skeleton.keypoints)
    assert [label.get("model_index") for label in labels] == [str(k) for k in range(len(skeleton))]
    hotkeys = [element.get("hotkey") for element in view.iter() if element.get("hotkey")]
    assert len(set(hotkeys)) == len(hotkeys)
    assert not set(hotkeys) & set("rkvhmu")  # the editor's own
    assert sum(label.get("hotkey") is not None for label in labels) == min(len(skeleton), 26)
    assert [child.tag for child in view] == ["Header", "KeyPointLabels", "RectangleLabels", "Choices", "Image"]
    assert view.find("Image").get("value") == "$photo"
    assert [child.get("smartOnly") for child in view[1:3]] == [
        "true",
        "true",
    ]  # else K and R pick tools unnoticed


def test_interface_survives_odd_names() -> None:
    skeleton = Skeleton("odd", ('a "b" <c> & d',), (0.1,))
    view = ElementTree.fromstring(labelling_interface(skeleton))
    assert view.find("KeyPointLabels/Label").get("value") == 'a "b" <c> & d'


@pytest.mark.parametrize(
    ("interface", "key"),
    [
        (labelling_interface(COCO, image_key="photo"), "photo"),
        ('<View><Image name="left" value="$a"/><Image name="image" value="$b"/></View>', "b"),
        ('<View><Image name="left" value="$a"/><Image name="right" value="$b"/></View>', "a"),
        ('<View><Text name="t" value="$text"/></View>', "image"),
        ('<View><Image name="pages" valueList="$pages"/></View>', "image"),
        ("", "image"),
        ("<View>", "image"),
    ],
)
def test_an_interface_tells_where_a_task_has_its_image(interface: str, key: str) -> None:
    assert image_key_of(interface) == key
