"""Keypoint schemas are data, and contradict neither themselves nor COCO."""

import json
import math

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from clickpose.errors import InvalidSkeleton
from clickpose.sides import find_flip_pairs
from clickpose.skeleton import DEFAULT_SIGMA, Skeleton, built_in


def make(**changes) -> Skeleton:
    """Three keypoints: a head, a left and a right hand."""
    values = {"name": "three", "keypoints": ["head", "left_hand", "right_hand"], "sigmas": [0.1, 0.2, 0.2]}
    return Skeleton.from_dict({**values, **changes})


@pytest.mark.parametrize("name", built_in())
def test_built_in_skeletons_survive_json(name: str) -> None:
    skeleton = Skeleton.load(name)
    assert skeleton.name == name
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton


@pytest.mark.parametrize("name", built_in())
def test_mirroring_trades_left_and_right(name: str) -> None:
    skeleton = Skeleton.load(name)
    names = np.array(skeleton.keypoints)
    assert np.array_equal(names[skeleton.flip_permutation][skeleton.flip_permutation], names)
    for before, after in zip(names, names[skeleton.flip_permutation], strict=True):
        for side, other in (("left", "right"), ("right", "left")):
            assert side not in before or after == before.replace(side, other, 1)


def test_coco_has_the_sigmas_of_coco() -> None:
    assert np.allclose(Skeleton.load("coco17").sigmas, Params("keypoints").kpt_oks_sigmas)


def test_a_file_is_a_skeleton(tmp_path) -> None:
    path = tmp_path / "three.json"
    path.write_text(json.dumps(make().to_dict()))
    assert Skeleton.load(path) == make()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_may_be_saved_as_windows_does(tmp_path, encoding: str) -> None:
    path = tmp_path / "three.json"
    path.write_bytes(json.dumps(make().to_dict()).encode(encoding))
    assert Skeleton.load(path) == make()


def test_a_file_that_is_no_json_is_told_as_such(tmp_path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InvalidSkeleton, match=r"broken\.json' cannot be read as JSON"):
        Skeleton.load(tmp_path / "broken.json")


def test_sigmas_and_flips_are_guessed_from_names() -> None:
    skeleton = Skeleton.from_dict({"name": "x", "keypoints": ["left_eye", "tail", "right_eye", "left_ear"]})
    assert skeleton.flip_pairs == ((0, 2),)
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 4


@pytest.mark.parametrize(
    "left, right",
    [
        *[("left_eye", "right_eye"), ("eye_left", "eye_right"), ("lefteye", "righteye"), ("leftEye", "rightEye")],
        *[("Left_Eye", "Right_Eye"), ("LEFT_EYE", "RIGHT_EYE"), ("Left Eye", "Right Eye"), ("EyeLeft", "EyeRight")],
        *[("L_Eye", "R_Eye"), ("l_eye", "r_eye"), ("eye_l", "eye_r"), ("eyeL", "eyeR"), ("eye.L", "eye.R")],
        *[("LEye", "REye"), ("Leye", "Reye"), ("leye", "reye"), ("eye (L)", "eye (R)"), ("L-eye", "R-eye")],
        *[("forelegL1", "forelegR1"), ("eye.L.001", "eye.R.001"), ("hand_l_thumb", "hand_r_thumb")],
        *[("mixamorig:LeftArm", "mixamorig:RightArm"), ("左眼", "右眼"), ("Left_eye", "right_eye")],
    ],
)
def test_left_and_right_are_recognised_however_they_are_spelled(left: str, right: str) -> None:
    for keypoints in ([left, "nose", right], [right, "nose", left]):
        pairs = find_flip_pairs(keypoints)
        assert pairs == ((keypoints.index(left), keypoints.index(right)),)


@pytest.mark.parametrize(
    "keypoints",
    [["nose", "tail", "skull", "lip"], ["left_eye", "nose"], ["L1", "L2", "L5"], ["heel", "knee"], ["lower", "upper"]],
)
def test_names_without_a_counterpart_are_no_pair(keypoints: list[str]) -> None:
    assert find_flip_pairs(keypoints) == ()


def test_a_keypoint_is_in_one_pair_even_if_its_name_could_be_read_twice() -> None:
    keypoints = ["left_l", "right_l", "left_r", "right_r", "L_eye", "l_eye", "r_eye"]
    pairs = find_flip_pairs(keypoints)
    assert pairs[:2] == ((0, 1), (2, 3))
    assert len({index for pair in pairs for index in pair}) == 2 * len(pairs) == 6


def test_pairs_and_links_may_be_given_by_name() -> None:
    by_name = make(keypoints=["head", "paw a", "paw b"], flip_pairs=[["paw a", "paw b"]], links=[["head", "paw a"]])
    assert (by_name.flip_pairs, by_name.links) == (((1, 2),), ((0, 1),))
    with pytest.raises(InvalidSkeleton, match="paw c"):
        make(keypoints=["head", "paw a", "paw b"], flip_pairs=[["paw a", "paw c"]])


def test_a_skeleton_without_pairs_cannot_be_mirrored_unless_it_is_one_point() -> None:
    assert make().can_mirror
    assert not make(flip_pairs=[]).can_mirror
    assert Skeleton.from_dict({"name": "x", "keypoints": ["nose"]}).can_mirror


def test_keypoints_are_found_by_name_and_by_index() -> None:
    assert make().index("right_hand") == make().index(2) == 2
    for absent in ("tail", 3, -1, None):
        with pytest.raises(KeyError):
            make().index(absent)


def test_shared_keypoints_are_those_of_the_same_name() -> None:
    coco, crowd = Skeleton.load("coco17"), Skeleton.load("crowdpose14")
    shared = coco.shared_with(crowd)
    assert len(shared) == 12
    assert all(coco.keypoints[i] == crowd.keypoints[j] for i, j in shared)
    assert [(j, i) for i, j in shared] == sorted(crowd.shared_with(coco), key=lambda pair: pair[1])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"keypoints": [], "sigmas": []}, "has no keypoints"),
        ({"keypoints": ["head", "head", "hand"]}, "names a keypoint twice"),
        ({"sigmas": [0.1, 0.2]}, "3 keypoints and 2 sigmas"),
        ({"sigmas": [0.1, 0.2, 0.0]}, "sigma that is not positive"),
        ({"sigmas": [0.1, 0.2, math.nan]}, "sigma that is not positive"),
        ({"sigmas": [0.1, 0.2, "wide"]}, "malformed"),
        ({"links": [[0, 3]]}, r"link \(0, 3\) is outside 0..2"),
        ({"links": [[0, 1, 2]]}, "malformed"),
        ({"flip_pairs": [[1, -1]]}, r"flip pair \(1, -1\) is outside 0..2"),
        ({"flip_pairs": [[0, 1], [1, 2]]}, "flips a keypoint twice"),
        ({"flip_pairs": [[1, 1]]}, "flips a keypoint twice"),
        ({"keypoints": None}, "'three' is malformed"),
    ],
)
def test_a_contradiction_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidSkeleton, match=said):
        make(**changes)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"coco17"'])
def test_a_file_that_is_no_skeleton_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InvalidSkeleton):
        Skeleton.load(path)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidSkeleton, match=r"no skeleton 'octopus': built in are coco17, .*wholebody133"):
        Skeleton.load("octopus")


@pytest.mark.parametrize(
    ("selection", "indices"), [("1-17", range(17)), ("18-21", range(17, 21)), ("nose, 21", (0, 20)), ("3", (2,))]
)
def test_keypoints_are_selected_by_name_or_by_numbers_from_one(selection: str, indices) -> None:
    skeleton = Skeleton.load("humanart21")
    assert skeleton.select(selection) == [skeleton.keypoints[i] for i in indices]


@pytest.mark.parametrize("selection", ["0-3", "20-22", "5-4", "tail", "", "1-"])
def test_a_selection_of_what_is_not_there_is_refused_by_name(selection: str) -> None:
    with pytest.raises(InvalidSkeleton, match="'humanart21' has no keypoints"):
        Skeleton.load("humanart21").select(selection)
