"""OCHuman's own file says the same as the files in COCO's form that its converter makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco

NAMES = (
    *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("head", "neck", "right_ear", "left_ear", "nose", "right_eye", "left_eye"),
)
VISIBLE = {"missing": 0, "vis": 1, "self_occluded": 2, "others_occluded": 3}


def person(**changes: Any) -> dict[str, Any]:
    """Keypoint k lies at (k, 2 k); one is missing, one each is hidden by its owner and by somebody else."""
    keypoints = [value for k in range(19) for value in (k, 2 * k, {3: 0, 4: 2, 5: 3}.get(k, 1))]
    segments = {"outer": [[1, 2, 3, 4, 5, 6]], "inner": [], "height": 864, "width": 900}
    return {"bbox": [250, 112, 725, 863], "keypoints": keypoints, "segms": segments, "max_iou": 0.6} | changes


def save(folder: Path, *people: Any, **changes: Any) -> Path:
    image = {"image_id": "003799", "file_name": "003799.jpg", "width": 900, "height": 864, "annotations": list(people)}
    content = {"keypoint_names": list(NAMES), "keypoint_visible": VISIBLE, "images": [image, image]} | changes
    path = folder / "ochuman.json"
    path.write_text(json.dumps(content))
    return path


def test_every_keypoint_is_read_with_the_sigmas_and_links_of_its_relatives(tmp_path: Path) -> None:
    read = read_coco(save(tmp_path, person()))
    assert read.skeleton.keypoints == NAMES
    coco = Skeleton.load("coco17")
    for name in coco.keypoints:
        assert read.skeleton.sigmas[read.skeleton.index(name)] == coco.sigmas[coco.index(name)]
    assert read.skeleton.sigmas[read.skeleton.index("neck")] == 0.079
    linked = {frozenset((NAMES[first], NAMES[second])) for first, second in read.skeleton.links}
    assert {frozenset(("head", "neck")), frozenset(("left_hip", "left_knee"))} <= linked
    assert read.skeleton.flip_permutation[NAMES.index("left_eye")] == NAMES.index("right_eye")


def test_persons_are_read_in_our_conventions(tmp_path: Path) -> None:
    first, second = read_coco(save(tmp_path, person(), person())).images
    assert [one.id for one in first.persons + second.persons] == [1, 2, 3, 4]
    assert (first.id, second.id, first.file_name, first.size_wh) == (1, 2, "003799.jpg", (900, 864))
    read = first.persons[0]
    assert read.box_px.tolist() == [250, 112, 725, 863]
    assert read.area_px == 475 * 751
    assert read.visibility.tolist() == [2, 2, 2, 0, 2, 1] + [2] * 13
    assert read.keypoints_px[[2, 3, 18]].tolist() == [[2, 4], [0, 0], [18, 36]]


def test_it_can_be_read_as_coco_reads_it(tmp_path: Path) -> None:
    read = read_coco(save(tmp_path, person()), skeleton="coco17")
    assert read.skeleton == Skeleton.load("coco17")
    assert read.images[0].persons[0].keypoints_px[0].tolist() == [16, 32]  # the nose
    with pytest.raises(InvalidAnnotation, match="no keypoints of skeleton 'humanart21'; it holds coco17, ochuman19"):
        read_coco(save(tmp_path, person()), skeleton="humanart21")


def test_a_bystander_is_a_box_without_keypoints(tmp_path: Path) -> None:
    read = read_coco(save(tmp_path, person(keypoints=None, segms=None)))
    assert read.images[0].persons[0].num_labelled == 0
    assert read.num_persons == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": [1, 2, 1]}, "field 'keypoints' has 3 values, 57 numbers are expected"),
        ({"keypoints": [1, 2, 7] * 19}, "field 'keypoints' has a visibility 7 of no meaning"),
        ({"keypoints": [float("nan"), 2, 1] * 19}, "field 'keypoints' contains a number that is NaN"),
        ({"bbox": [725, 112, 250, 863]}, "field 'bbox' has a negative width or height"),
        ({"bbox": [910, 112, 950, 863]}, "field 'bbox' is x 910.0 .. 950.0, y 112.0 .. 863.0, outside the image"),
        ({"bbox": None}, "field 'bbox' is missing"),
    ],
)
def test_a_malformed_person_is_refused_or_skipped(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path, person(), person(**changes))
    with pytest.raises(InvalidAnnotation) as refusal:
        read_coco(path)
    assert str(refusal.value).startswith(f"{path}: image 1, annotation 2: {message}")
    assert [one.id for image in read_coco(path, skip_bad=True).images for one in image.persons] == [1, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoint_names": ["nose", "nose"]}, "field 'keypoint_names': skeleton 'ochuman19' names a keypoint twice"),
        ({"keypoint_names": None}, "field 'keypoint_names': "),
        ({"keypoint_visible": {"seen": 1}}, "field 'keypoint_visible' is {'seen': 1}, numbers of"),
        ({"images": {}}, "field 'images' is no list"),
        ({"images": [{"file_name": "a", "width": 9, "height": 9}]}, "image 1: field 'annotations' is missing"),
        ({"images": [7]}, "image record 7 is not an object"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path, person(), **changes)
    with pytest.raises(InvalidAnnotation) as refusal:
        read_coco(path)
    assert str(refusal.value).startswith(f"{path}: {message}")
