"""COCO keypoint files there and back, and the records that are refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.coco import person_categories, read_coco, results_to_coco, write_coco


def document(**changes: Any) -> dict[str, Any]:
    """A file with one image and one person of three keypoints; ``changes`` replace fields of the person."""
    person = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 50, "iscrowd": 0}
    person |= {"keypoints": [5, 6, 2, 3, 4, 1, 9, 9, 0]} | changes
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [{name: value for name, value in person.items() if value is not ...}],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["a", "b", "c"], "skeleton": [[1, 2], [2, 9], [0, 1]]}],
    }


def save(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "train.json"
    path.write_text(json.dumps(content))
    return path


def equal(one: PersonAnnotation, other: PersonAnnotation) -> bool:
    return (
        (one.id, one.area_px, one.is_crowd) == (other.id, other.area_px, other.is_crowd)
        and np.array_equal(one.keypoints_px, other.keypoints_px)
        and np.array_equal(one.visibility, other.visibility)
        and np.array_equal(one.box_px, other.box_px)
    )


coordinate = st.integers(-(10**5), 10**7).map(lambda thousandths: np.float32(thousandths / 1000))


@st.composite
def persons(draw: Any, person_id: int) -> PersonAnnotation:
    visibility = np.array(draw(st.lists(st.integers(0, 2), min_size=17, max_size=17)))
    points = np.array(draw(st.lists(coordinate, min_size=34, max_size=34)), np.float32).reshape(17, 2)
    inside = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))  # of the smallest image
    corner = coordinate.filter(lambda edge: edge % 1 > 0)  # so that the box has a size
    box = np.array([inside, draw(st.tuples(corner, corner))], np.float32)
    return PersonAnnotation(
        id=person_id,
        keypoints_px=np.where(visibility[:, None] > 0, points, np.float32(0)),
        visibility=visibility,
        box_px=np.sort(box, axis=0).reshape(4),
        area_px=draw(st.floats(1e-3, 1e6)),
        is_crowd=draw(st.booleans()),
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_is_written_is_read_back_exactly(tmp_path_factory: Any, data: Any) -> None:
    people = tuple(data.draw(persons(i)) for i in range(data.draw(st.integers(0, 2))))
    written = AnnotationSet(
        Skeleton.load("coco17"),
        (AnnotatedImage(3, "sub/é.jpg", (64, 48), people), AnnotatedImage(4, "b.jpg", (5, 5), crowd_index=0.25)),
    )
    path = tmp_path_factory.mktemp("coco") / "x.json"
    write_coco(written, path)
    read = read_coco(path)
    assert read.skeleton == written.skeleton
    for one, other in zip(read.images, written.images, strict=True):
        assert replace(one, persons=()) == replace(other, persons=())
        assert all(map(equal, one.persons, other.persons))
        assert len(one.persons) == len(other.persons)


def test_a_skeleton_of_ones_own_survives(tmp_path: Path) -> None:
    skeleton = Skeleton("paw", ("left_a", "right_a"), (0.1, 0.2), links=((0, 1),), flip_pairs=((0, 1),))
    write_coco(AnnotationSet(skeleton), tmp_path / "x.json")
    assert read_coco(tmp_path / "x.json").skeleton == skeleton


def test_category_becomes_a_skeleton_without_its_invalid_links(tmp_path: Path) -> None:
    read = read_coco(save(tmp_path, document()))
    assert read.skeleton.name == "cat"
    assert read.skeleton.keypoints == ("a", "b", "c")
    assert read.skeleton.links == ((0, 1),)


def test_names_of_a_built_in_skeleton_mean_that_skeleton(tmp_path: Path) -> None:
    crowdpose = Skeleton.load("crowdpose14")
    content = document(keypoints=[1, 1, 2] * 14)
    content["categories"][0] |= {"keypoints": list(crowdpose.keypoints), "skeleton": [[16, 14]]}
    assert read_coco(save(tmp_path, content)).skeleton == crowdpose


def test_person_is_read_in_our_conventions(tmp_path: Path) -> None:
    (image,) = read_coco(save(tmp_path, document(area=...))).images
    (person,) = image.persons
    assert person.keypoints_px.tolist() == [[5, 6], [3, 4], [0, 0]]  # the unlabelled one goes to the origin
    assert person.visibility.tolist() == [2, 1, 0]
    assert person.box_px.tolist() == [1, 2, 11, 22]
    assert person.area_px == pytest.approx(0.53 * 10 * 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": ...}, "annotation 7: field 'image_id' is missing"),
        ({"category_id": ...}, "annotation 7: field 'category_id' is missing"),
        ({"id": ...}, "annotation ?: field 'id' is missing"),
        ({"id": "seven"}, "annotation seven: field 'id' is 'seven', an integer is expected"),
        ({"keypoints": [1, 2, 2]}, "annotation 7: field 'keypoints' has 3 values, 9 numbers are expected"),
        ({"keypoints": {"nose": 1}}, "annotation 7: field 'keypoints' has a dict, 9 numbers are expected"),
        ({"keypoints": [1e300, 2, 2] * 3}, "annotation 7: field 'keypoints' contains a number that is NaN"),
        ({"keypoints": ["x", 2, 2] * 3}, "annotation 7: field 'keypoints' contains a value that is not a number"),
        ({"keypoints": [1, 2, 3] * 3}, "annotation 7: field 'keypoints' has a visibility other than 0, 1 or 2"),
        ({"bbox": [1, 2, -3, 4]}, "annotation 7: field 'bbox' has a negative width or height"),
        ({"bbox": [1, 2, 3]}, "annotation 7: field 'bbox' has 3 values, 4 numbers are expected"),
        ({"bbox": [1, 2, float("nan"), 4]}, "annotation 7: field 'bbox' contains a number that is NaN"),
        ({"bbox": [66, 2, 10, 20]}, "annotation 7: field 'bbox' is x 66.0 .. 76.0, y 2.0 .. 22.0, outside the image"),
        ({"bbox": [2, -30, 10, 28]}, "annotation 7: field 'bbox' is x 2.0 .. 12.0, y -30.0 .. -2.0, outside the"),
        ({"area": -1}, "annotation 7: field 'area' is negative"),
        ({"image_id": 99}, "annotation 7: field 'image_id' names image 99, which is not in the file"),
        ({"category_id": 99}, "annotation 7: field 'category_id' names category 99, which is not in the file"),
        ({"category_id": "1"}, "annotation 7: field 'category_id' is '1', an integer is expected"),
        ({"iscrowd": "0"}, "annotation 7: field 'iscrowd' is '0', true or false is expected"),
    ],
)
def test_bad_person_is_refused_by_file_id_and_field_or_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], message: str
) -> None:
    path = save(tmp_path, document(**changes))
    with pytest.raises(InvalidAnnotation) as error:
        read_coco(path)
    assert f"{path}: {message}" in str(error.value)

    with caplog.at_level(logging.WARNING):
        assert read_coco(path, skip_bad=True).num_persons == 0
    assert f"{path}: skipped 1 bad records" in caplog.text


@pytest.mark.parametrize(
    "bbox",
    [
        [-0.01, 2, 64.02, 46.003],  # rounded beyond an edge
        [1, 1, 64, 48],  # counted from 1
        [-20, -30, 100, 90],  # somebody the image cuts off
        [64.5, 2, 3, 4],  # beside the image, by less than a pixel
    ],
)
def test_a_box_may_stick_out_of_the_image_and_is_kept_as_it_is(tmp_path: Path, bbox: list[float]) -> None:
    (image,) = read_coco(save(tmp_path, document(bbox=bbox))).images
    x, y, width, height = bbox
    assert image.persons[0].box_px.tolist() == pytest.approx([x, y, x + width, y + height])


def test_everything_skipped_is_listed_and_so_are_the_persons_of_a_skipped_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = document()
    content["images"].append({"id": 2, "file_name": "b.jpg", "width": 9})
    content["annotations"].append(document(id=8, image_id=2)["annotations"][0])
    path = save(tmp_path, content)
    assert len(read_coco(path, skip_bad=True)) == 1
    assert caplog.messages[1:] == [
        f"skipped {path}: image 2: field 'height' is missing",
        f"skipped {path}: annotation 8: field 'image_id' names image 2, which is not in the file",
        f"{path}: skipped 2 bad records",
    ]


@pytest.mark.parametrize(
    ("list_name", "record", "message"),
    [
        ("images", {"id": 1, "file_name": "b", "width": 9, "height": 9}, "image 1: field 'id' is used twice"),
        ("images", {"id": 2, "width": 9, "height": 9}, "image 2: field 'file_name' is missing"),
        ("images", {"id": 2, "file_name": "b", "width": 0, "height": 9}, "image 2: fields 'width' and 'height'"),
        ("images", {"id": 2, "file_name": "b", "width": 9, "height": 9, "crowdIndex": 2}, "field 'crowdIndex' is 2.0"),
        ("images", "nonsense", "image record 'nonsense' is not an object"),
        ("annotations", document()["annotations"][0], "annotation 7: field 'id' is used twice"),
    ],
)
def test_bad_record_beside_a_good_one(tmp_path: Path, list_name: str, record: Any, message: str) -> None:
    content = document()
    content[list_name].append(record)
    path = save(tmp_path, content)
    with pytest.raises(InvalidAnnotation, match=r"train\.json") as error:
        read_coco(path)
    assert message in str(error.value)
    assert read_coco(path, skip_bad=True).num_persons == 1


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "cat"}], "no category has keypoints"),
        ([{"id": 1, "name": "cat", "keypoints": ["a", "a"]}], "category 1: skeleton 'cat' names a keypoint twice"),
        ([{"id": "1", "name": "cat", "keypoints": ["a"]}], "category 1: field 'id' is '1', an integer is expected"),
        ([{"id": [1], "name": "cat", "keypoints": ["a"]}], "category [1]: field 'id' is [1], an integer is expected"),
        (
            [{"id": 1, "keypoints": [{"name": "a"}]}],
            "category 1: field 'keypoints' is [{'name': 'a'}], a list of names",
        ),
        ([{"id": 1, "keypoints": {"a": 1}}], "category 1: field 'keypoints' is {'a': 1}, a list of names is expected"),
        ([], "no category has keypoints; categories: none"),
    ],
)
def test_category_without_usable_keypoints_is_refused(tmp_path: Path, categories: list[Any], message: str) -> None:
    path = save(tmp_path, document() | {"categories": categories})
    with pytest.raises(InvalidAnnotation) as error:
        read_coco(path)
    assert message in str(error.value)


def test_category_is_chosen_by_name(tmp_path: Path) -> None:
    content = document()
    content["categories"].append({"id": 2, "name": "dog", "keypoints": ["x"]})
    path = save(tmp_path, content)
    assert read_coco(path, category="cat").num_persons == 1
    assert read_coco(path, category="dog").num_persons == 0
    with pytest.raises(InvalidAnnotation, match="choose one with --category: 'cat', 'dog'"):
        read_coco(path)
    with pytest.raises(InvalidAnnotation, match="category 'cow' is not there exactly once"):
        read_coco(path, category="cow")


def test_species_with_the_same_keypoints_are_read_together(tmp_path: Path) -> None:
    content = document()
    content["categories"].append(content["categories"][0] | {"id": 2, "name": "lynx"})
    content["annotations"].append(content["annotations"][0] | {"id": 8, "category_id": 2})
    path = save(tmp_path, content)
    assert read_coco(path).num_persons == 2
    assert read_coco(path, category="lynx").num_persons == 1
    assert person_categories(path) == [1, 2]
    assert person_categories(path, "lynx") == [2]


@pytest.mark.parametrize("links", [[[1, 2], [2, 3]], [[0, 1], [1, 2]]])
def test_links_may_be_counted_from_0(tmp_path: Path, links: list[list[int]]) -> None:
    content = document()
    content["categories"][0]["skeleton"] = links
    assert read_coco(save(tmp_path, content)).skeleton.links == ((0, 1), (1, 2))


@pytest.mark.parametrize(
    "links, lost",
    [
        ([[1, 2], [2, 4]], 1),
        ([[0, 1], [1, 2], [3, 1]], 1),  # counted from 1 because of the 3, so that the first leads nowhere
        ([["a", "b"], ["b", "tail"]], 1),
        ([[1.0, 2.0], [True, 2], [1], [float("nan"), 1]], 3),
    ],
)
def test_links_that_lead_nowhere_are_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, links: list[list[Any]], lost: int
) -> None:
    content = document()
    content["categories"][0]["skeleton"] = links
    read_coco(save(tmp_path, content))
    assert f"{lost} of {len(links)} links lead to no keypoint" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_is_read_in_the_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(json.dumps(document()).encode(encoding))
    assert read_coco(path).num_persons == 1


def test_a_file_in_another_encoding_is_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes('{"images": "caf\xe9"}'.encode("latin-1"))
    with pytest.raises(InvalidAnnotation, match=r"train\.json is not text in UTF-8 or UTF-16: save it as UTF-8"):
        read_coco(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"keypoints": ...},
        {"keypoints": None},
        {"keypoints": [], "num_keypoints": 0, "bbox": [0, 0, 0, 0], "area": 0},
        {"keypoints": ..., "bbox": ...},
        {"keypoints": [None, None, 0] * 3},
        {"keypoints": [float("nan"), 2, 2] * 3},
    ],
)
def test_a_person_without_keypoints_is_one_without_labels(tmp_path: Path, changes: dict[str, Any]) -> None:
    (image,) = read_coco(save(tmp_path, document(**changes))).images
    assert [person.num_labelled for person in image.persons] == [0]


def test_fields_that_pycocotools_does_without_may_be_missing_or_null(tmp_path: Path) -> None:
    (whole,) = read_coco(save(tmp_path, document(area=..., iscrowd=...))).images
    (null,) = read_coco(save(tmp_path, document(area=None, iscrowd=None, segmentation=None))).images
    assert null.persons[0].area_px == whole.persons[0].area_px


@pytest.mark.parametrize("bbox", [..., None, [0, 0, 0, 0], [5, 6, 0, 0]])
@pytest.mark.parametrize("area", [..., 0])
def test_a_tool_that_knows_points_only_has_its_persons_read(tmp_path: Path, bbox: Any, area: Any) -> None:
    (image,) = read_coco(save(tmp_path, document(bbox=bbox, area=area))).images
    assert image.persons[0].box_px.tolist() == [3, 4, 5, 6]
    assert image.persons[0].area_px == pytest.approx(0.53 * 2 * 2)


def test_an_area_of_0_is_that_of_the_box_because_no_pose_would_match_it(tmp_path: Path) -> None:
    (image,) = read_coco(save(tmp_path, document(area=0))).images
    assert image.persons[0].area_px == pytest.approx(0.53 * 10 * 20)


def test_a_crowd_without_a_box_is_still_a_crowd(tmp_path: Path) -> None:
    (image,) = read_coco(save(tmp_path, document(bbox=..., keypoints=..., iscrowd=1))).images
    assert image.persons[0].is_crowd


def test_keypoints_written_as_shares_of_the_image_are_refused(tmp_path: Path) -> None:
    content = document(keypoints=[0.1, 0.2, 2, 0.3, 0.4, 2, 0.5, 0.9, 2])
    content["annotations"] += [content["annotations"][0] | {"id": number} for number in range(8, 12)]
    with pytest.raises(
        InvalidAnnotation, match=r"train\.json: all keypoints are between 0 and 1: write them in pixels"
    ):
        read_coco(save(tmp_path, content))


@pytest.mark.parametrize("place", [(0, 0), (-7, 5), (64, 480)])
def test_labelled_keypoints_that_can_have_no_place_are_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: tuple[float, float]
) -> None:
    read_coco(save(tmp_path, document(keypoints=[*place, 2, 3, 4, 1, 0, 0, 0])))
    assert "1 of 2 labelled keypoints lie at (0, 0) or outside their image" in caplog.text


def test_annotations_of_other_categories_are_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = document()
    content["categories"].append({"id": 2, "name": "dog"})
    content["annotations"].append(content["annotations"][0] | {"id": 8, "category_id": 2})
    assert read_coco(save(tmp_path, content)).num_persons == 1
    assert "train.json: 1 annotations of other categories are left out" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"images": []}', '{"images": {}, "annotations": []}'])
def test_file_that_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(text)
    with pytest.raises(InvalidAnnotation, match=r"train\.json"):
        read_coco(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidAnnotation, match=r"none\.json cannot be read"):
        read_coco(tmp_path / "none.json")


def test_pycocotools_accepts_file_and_results(tmp_path: Path, make_pose: Any) -> None:
    path = tmp_path / "x.json"
    write_coco(AnnotationSet(Skeleton.load("coco17"), (AnnotatedImage(1, "a.jpg", (640, 480)),)), path)
    results = json.loads(json.dumps(results_to_coco({1: [make_pose()]})))
    loaded = COCO(str(path)).loadRes(results)
    assert loaded.getAnnIds(imgIds=[1]) == [1]
    assert results[0]["bbox"] == [64.0, 48.0, 192.0, 384.0]
