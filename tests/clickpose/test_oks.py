"""OKS is that of pycocotools, and a keypoint is within tolerance from the similarity on that is asked for."""

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from clickpose.annotations import PersonAnnotation
from clickpose.errors import InvalidAnnotation
from clickpose.oks import keypoint_similarity, oks, oks_matrix, within_tolerance
from clickpose.skeleton import Skeleton, built_in

COCO17 = Skeleton.load("coco17")


def make_person(rng: np.random.Generator, num_keypoints: int, id: int = 1) -> PersonAnnotation:
    visibility = rng.integers(0, 3, num_keypoints)
    visibility[rng.integers(num_keypoints)] = 2
    keypoints_px = (rng.uniform(0, 400, (num_keypoints, 2)) * (visibility > 0)[:, None]).astype(np.float32)
    box_px = np.array([0, 0, 400, 400], np.float32)
    return PersonAnnotation(id, keypoints_px, visibility, box_px, area_px=float(rng.uniform(900, 90_000)))


def as_coco(keypoints_px: np.ndarray, visibility: np.ndarray) -> list[float]:
    return np.column_stack([keypoints_px, visibility]).ravel().tolist()


def pycocotools_oks(poses: list[np.ndarray], truths: list[PersonAnnotation], skeleton: Skeleton) -> np.ndarray:
    evaluator = COCOeval(iouType="keypoints")
    evaluator.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
    evaluator._gts[1, 1] = [
        {"keypoints": as_coco(t.keypoints_px, t.visibility), "bbox": [0, 0, 400, 400], "area": t.area_px}
        for t in truths
    ]
    detections = [{"keypoints": as_coco(p, np.ones(len(p))), "score": -index} for index, p in enumerate(poses)]
    evaluator._dts[1, 1] = detections
    return np.asarray(evaluator.computeOks(1, 1))


@pytest.mark.parametrize("name", built_in())
def test_oks_equals_pycocotools(name: str) -> None:
    skeleton, rng = Skeleton.load(name), np.random.default_rng(7)
    truths = [make_person(rng, len(skeleton)) for _ in range(4)]
    poses = [t.keypoints_px + rng.normal(0, 12, t.keypoints_px.shape) for t in truths for _ in range(3)]
    expected = pycocotools_oks(poses, truths, skeleton)
    assert expected.max() > 0.1
    np.testing.assert_allclose(oks_matrix(poses, truths, skeleton.sigmas), expected, rtol=1e-5)
    assert oks(poses[5], truths[1], skeleton.sigmas) == pytest.approx(expected[5, 1])


def test_oks_ignores_unlabelled_keypoints() -> None:
    truth = make_person(np.random.default_rng(0), 17)
    moved = truth.keypoints_px + 500.0 * (truth.visibility == 0)[:, None]
    assert (truth.visibility == 0).any()
    assert oks(moved, truth, COCO17.sigmas) == 1.0


def test_a_person_without_labels_has_no_oks() -> None:
    truth = PersonAnnotation(5, np.zeros((17, 2), np.float32), np.zeros(17, np.int64), np.zeros(4, np.float32), 100.0)
    with pytest.raises(InvalidAnnotation, match="person 5"):
        oks(np.zeros((17, 2)), truth, COCO17.sigmas)


def test_one_human_standard_deviation_has_a_similarity_of_88_percent() -> None:
    truth = make_person(np.random.default_rng(0), 17)
    step_px = np.sqrt(truth.area_px) * np.array(COCO17.sigmas)
    moved = truth.keypoints_px + np.column_stack([step_px, np.zeros(17)])
    np.testing.assert_allclose(keypoint_similarity(moved, truth, COCO17.sigmas), np.exp(-1 / 8), rtol=1e-5)


def test_an_oks_below_the_tolerance_leaves_a_keypoint_to_click() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        truth = make_person(rng, 17)
        guess = truth.keypoints_px + rng.normal(0, rng.uniform(1, 12), (17, 2))
        inside = within_tolerance(guess, truth, COCO17.sigmas, 0.9)
        assert not inside[truth.visibility == 0].any()
        if oks(guess, truth, COCO17.sigmas) < 0.9:
            assert not inside[truth.visibility > 0].all()


def test_no_poses_give_an_empty_matrix() -> None:
    assert oks_matrix([], [make_person(np.random.default_rng(0), 17)], COCO17.sigmas).shape == (0, 1)
