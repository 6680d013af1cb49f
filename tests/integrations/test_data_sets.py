"""Files of public data sets, each in the layout that its documentation describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import PersonAnnotation, split_by_crowding
from clickpose.errors import InvalidAnnotation
from clickpose.images import read_image
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco, write_coco

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"
REAL_FILES = (
    "mmpose_human/aic/aic.json",
    "mmpose_human/crowdpose/crowdpose.json",
    "mmpose_human/mhp/mhp.json",
    "mmpose_human/mpii/mpii.json",
    "mmpose_human/ochuman/ochuman.json",
    "mmpose_animals/animalpose/animalpose.json",
    "mmpose_animals/ap10k/ap10k.json",
    "mmpose_animals/atrw/atrw.json",
    "mmpose_animals/fly/fly.json",
    "mmpose_animals/horse10/horse10.json",
    "mmpose_animals/locust/locust.json",
    "mmpose_animals/macaque/macaque.json",
    "mmpose_animals/zebra/zebra.json",
    "coco_small/coco_small_val.json",
    "coco_small/coco_small_train.json",
    "animated_drawings/animated_drawings.json",
)
COCO_LINKS = [[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9]]


def triples(count: int, start: int = 0, visibility: float = 2) -> list[float]:
    """Keypoint k of a field lies at (start + k, 2 (start + k))."""
    return [value for k in range(start, start + count) for value in (k, 2 * k, visibility)]


def coco_person(person_id: int, image_id: int, **changes: Any) -> dict[str, Any]:
    return {
        "segmentation": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]],
        "num_keypoints": 17,
        "area": 3000.5,
        "iscrowd": 0,
        "keypoints": triples(17),
        "image_id": image_id,
        "bbox": [0.5, 1.0, 60.0, 80.0],
        "category_id": 1,
        "id": person_id,
    } | changes


def coco_document(*people: dict[str, Any], images: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    image = {"license": 4, "file_name": "000000000785.jpg", "height": 425, "width": 640, "id": 785}
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}],
        "images": images or [image],
        "annotations": list(people),
        "categories": [
            {
                "supercategory": "person",
                "id": 1,
                "name": "person",
                "keypoints": list(Skeleton.load("coco17").keypoints),
                "skeleton": COCO_LINKS,
            }
        ],
    }


def save(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def only_person(path: Path, **options: Any) -> PersonAnnotation:
    ((person,),) = (image.persons for image in read_coco(path, **options).images)
    return person


# -- COCO, and OCHuman in COCO's form


def test_coco(tmp_path: Path) -> None:
    crowd = coco_person(2, 785, iscrowd=1, keypoints=[0] * 51, num_keypoints=0, segmentation={"counts": [1, 2]})
    read = read_coco(save(tmp_path, coco_document(coco_person(1, 785), crowd)))
    assert read.skeleton == Skeleton.load("coco17")
    person, region = read.images[0].persons
    assert (person.num_labelled, person.area_px, person.is_crowd) == (17, 3000.5, False)
    assert (region.num_labelled, region.is_crowd) == (0, True)
    assert read.num_persons == 1


def test_ochuman_in_coco_form(tmp_path: Path) -> None:
    keypoints = [371.57, 188.87, 2, 380.98, 174.56, 1] + [0, 0, 0] * 15
    person = coco_person(1, 1, keypoints=keypoints, area=356725, bbox=[250, 112, 475, 751], num_keypoints=2)
    person["segmentation"] = {"counts": "Zei62gj08I7N2N2N2N1O1O", "size": [864, 900]}
    images = [{"file_name": "003799.jpg", "width": 900, "height": 864, "id": 1}]
    read = only_person(save(tmp_path, coco_document(person, images=images)))
    assert read.visibility[:3].tolist() == [2, 1, 0]
    assert read.area_px == 475 * 751


# -- CrowdPose


def crowdpose_document() -> dict[str, Any]:
    """Two images, without areas, and with the links of COCO, which name keypoints that are not there."""
    crowdpose = Skeleton.load("crowdpose14")
    images = [(106848, 0.05), (103319, 0.8), (103320, 0.9)]
    person = coco_person(123803, 106848, keypoints=[*triples(13), 0, 0, 0], num_keypoints=13)
    del person["area"], person["segmentation"]
    return {
        "images": [
            {"file_name": f"{id}.jpg", "id": id, "height": 425, "width": 640, "crowdIndex": crowd_index}
            for id, crowd_index in images
        ],
        "annotations": [person],
        "categories": [
            {
                "supercategory": "person",
                "id": 1,
                "name": "person",
                "keypoints": list(crowdpose.keypoints),
                "skeleton": COCO_LINKS,
            }
        ],
    }


def test_crowdpose_has_its_own_links_and_area(tmp_path: Path) -> None:
    path = save(tmp_path, crowdpose_document())
    assert read_coco(path).skeleton == Skeleton.load("crowdpose14")
    person = read_coco(path).images[0].persons[0]
    assert person.area_px == pytest.approx(0.53 * 60 * 80)
    assert person.visibility.tolist() == [2] * 13 + [0]


def test_crowdpose_tells_how_crowded_a_image_is_also_when_written_again(tmp_path: Path) -> None:
    read = read_coco(save(tmp_path, crowdpose_document()))
    write_coco(read, tmp_path / "again.json")
    for one in (read, read_coco(tmp_path / "again.json")):
        shares = split_by_crowding(one)
        assert {name: [image.id for image in share.images] for name, share in shares.items()} == {
            "easy": [106848],
            "medium": [103319],
            "hard": [103320],
        }


# -- Human-Art


def human_art_document(*more: dict[str, Any], **changes: Any) -> dict[str, Any]:
    image = {
        "file_name": "HumanArt/images/2D_virtual_human/cartoon/000000000007.jpg",
        "height": 425,
        "width": 640,
        "id": 2000000000007,
        "page_url": "",
        "image_url": "",
        "picture_name": "",
        "author": "",
        "description": "two figures",
        "category": "cartoon",
    }
    person = coco_person(1, 2000000000007) | {
        "keypoints_21": triples(21),
        "num_keypoints_21": 21,
        "self_contact": [],
        "annotator": 3,
    }
    return coco_document(person | changes, *more, images=[image])


def test_human_art_is_read_with_all_its_keypoints_or_those_of_coco(tmp_path: Path) -> None:
    path = save(tmp_path, human_art_document())
    assert read_coco(path).skeleton == Skeleton.load("humanart21")
    assert only_person(path).keypoints_px.tolist() == [[k, 2 * k] for k in range(21)]
    assert read_coco(path, skeleton="coco17").skeleton == Skeleton.load("coco17")
    assert only_person(path, skeleton="coco17").keypoints_px.tolist() == [[k, 2 * k] for k in range(17)]


def test_persons_of_coco_among_those_of_human_art_have_no_fingers_and_toes(tmp_path: Path) -> None:
    path = save(tmp_path, human_art_document(coco_person(2, 2000000000007)))
    assert [person.num_labelled for person in read_coco(path).images[0].persons] == [21, 17]


def test_a_skeleton_that_a_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, human_art_document())
    with pytest.raises(InvalidAnnotation, match=r"no keypoints of skeleton 'crowdpose14'; it holds coco17, humanart21"):
        read_coco(path, skeleton="crowdpose14")
    path = save(tmp_path, human_art_document(face_kpts=[]))
    with pytest.raises(
        InvalidAnnotation, match=r"several skeletons, one must be chosen: coco17, humanart21, wholebody"
    ):
        read_coco(path)


def test_a_human_art_field_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, human_art_document(keypoints_21=triples(17)))
    with pytest.raises(InvalidAnnotation, match="annotation 1: field 'keypoints_21' has 51 values, 63 numbers"):
        read_coco(path)


# -- COCO-WholeBody


def whole_body_person(**changes: Any) -> dict[str, Any]:
    parts = {"foot_kpts": triples(6, 17), "face_kpts": triples(68, 23, 1.0)}
    parts |= {"lefthand_kpts": triples(21, 91, 0.14), "righthand_kpts": triples(21, 112)}
    boxes = {"face_box": [1.0, 2.0, 3.0, 4.0], "lefthand_box": [1.0, 2.0, 3.0, 4.0], "righthand_box": [0.0] * 4}
    valid = {"foot_valid": True, "face_valid": True, "lefthand_valid": True, "righthand_valid": True}
    return coco_person(183126, 785) | parts | boxes | valid | changes


def test_whole_body_parts_become_one_skeleton(tmp_path: Path) -> None:
    path = save(tmp_path, coco_document(whole_body_person()))
    assert read_coco(path).skeleton == Skeleton.load("wholebody133")
    person = only_person(path)
    assert person.keypoints_px.tolist() == [[k, 2 * k] for k in range(133)]
    assert person.visibility.tolist() == [2] * 23 + [1] * (68 + 21) + [2] * 21
    assert only_person(path, skeleton="coco17").keypoints_px.tolist() == [[k, 2 * k] for k in range(17)]


@pytest.mark.parametrize(
    ("part", "begin", "end"), [("foot", 17, 23), ("face", 23, 91), ("lefthand", 91, 112), ("righthand", 112, 133)]
)
def test_nothing_is_labelled_of_a_part_that_is_not_valid(tmp_path: Path, part: str, begin: int, end: int) -> None:
    person = only_person(save(tmp_path, coco_document(whole_body_person(**{f"{part}_valid": False}))))
    unlabelled = np.arange(133)[person.visibility == 0]
    assert unlabelled.tolist() == list(range(begin, end))
    assert not person.keypoints_px[begin:end].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"face_kpts": triples(67)}, "field 'face_kpts' has 201 values, 204 numbers are expected"),
        ({"foot_valid": None}, "field 'foot_valid' is missing"),
        ({"foot_valid": "yes"}, "field 'foot_valid' is 'yes', true or false is expected"),
        ({"lefthand_kpts": [float("nan")] * 63}, "field 'lefthand_kpts' contains a number that is NaN"),
        ({"righthand_kpts": triples(21, 0, -1)}, "field 'righthand_kpts' has a visibility outside 0..2"),
    ],
)
def test_a_malformed_part_is_refused_by_its_field_or_skipped(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = save(tmp_path, coco_document(whole_body_person(**changes)))
    with pytest.raises(InvalidAnnotation) as refusal:
        read_coco(path)
    assert str(refusal.value).startswith(f"{path}: annotation 183126: {message}")
    assert read_coco(path, skip_bad=True).num_persons == 0


# -- real files


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the small sample of real data sets is not at {REAL}")
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_and_their_images_are_read(name: str) -> None:
    path = REAL / name
    document = json.loads(path.read_text())
    read = read_coco(path)
    assert read.skeleton.keypoints == tuple(document["categories"][0]["keypoints"])
    assert len(read) == len(document["images"])
    labelled = sum(person.num_labelled for image in read.images for person in image.persons)
    assert labelled == sum(v > 0 for record in document["annotations"] for v in record["keypoints"][2::3])
    for image in read.images[:3]:
        assert read_image(path.parent / "images" / image.file_name).size == image.size_wh
