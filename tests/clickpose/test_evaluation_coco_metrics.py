"""AP of keypoints is that of pycocotools, also where a file would have to be written for it."""

import io
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from clickpose.annotations import AnnotationSet, PersonAnnotation, Pose
from clickpose.errors import InvalidAnnotation
from clickpose.evaluation import box_ap, keypoint_ap
from clickpose.evaluation.coco_metrics import image_ap
from clickpose.skeleton import Skeleton, built_in
from clickpose.synthetic import DrawnPeople


def make_pose(person: PersonAnnotation, noise_px: float = 0.0, score: float = 0.9, seed: int = 0) -> Pose:
    rng = np.random.default_rng([seed, person.id])
    num_keypoints = len(person.visibility)
    return Pose(
        keypoints_px=(person.keypoints_px + rng.normal(0, noise_px, (num_keypoints, 2))).astype(np.float32),
        visibility=np.full(num_keypoints, 2),
        scores=np.full(num_keypoints, 0.5, np.float32),
        box_px=(person.box_px + rng.normal(0, noise_px, 4)).astype(np.float32),
        score=score,
        held=np.zeros(num_keypoints, bool),
    )


def perfect(annotations: AnnotationSet) -> dict[int, list[Pose]]:
    return {image.id: [make_pose(person) for person in image.persons] for image in annotations.images}


def noisy(annotations: AnnotationSet) -> dict[int, list[Pose]]:
    rng = np.random.default_rng(9)
    return {
        image.id: [make_pose(p, rng.uniform(1, 9), rng.uniform(), seed) for p in image.persons for seed in range(3)]
        for image in annotations.images
    }


@pytest.mark.parametrize("name", built_in())
def test_perfect_predictions_have_an_ap_of_one(name: str) -> None:
    annotations = DrawnPeople(Skeleton.load(name)).annotations
    assert keypoint_ap(annotations, perfect(annotations))["AP"] == pytest.approx(1.0)
    assert box_ap(annotations, perfect(annotations))["AP"] == pytest.approx(1.0)


def test_a_image_without_predictions_counts() -> None:
    annotations = DrawnPeople(Skeleton.load("coco17"), num_images=2, max_persons=1).annotations
    half = {1: perfect(annotations)[1]}
    assert keypoint_ap(annotations, half)["AR"] == pytest.approx(0.5)
    assert keypoint_ap(annotations, {})["AP"] == 0.0


def test_nothing_to_count_gives_minus_one() -> None:
    skeleton = Skeleton.load("coco17")
    assert keypoint_ap(AnnotationSet(skeleton), {})["AP"] == -1.0


def test_crowds_and_persons_without_labels_are_not_counted() -> None:
    annotations = DrawnPeople(Skeleton.load("coco17"), num_images=3).annotations
    poses = perfect(annotations)
    image = annotations.images[2]
    crowd = replace(image.persons[0], is_crowd=True)
    bare = replace(image.persons[1], visibility=np.zeros(17, np.int64), keypoints_px=np.zeros((17, 2), np.float32))
    changed = replace(image, persons=(crowd, bare, image.persons[2]))
    annotations = AnnotationSet(annotations.skeleton, (*annotations.images[:2], changed))
    poses[image.id] = poses[image.id][2:]
    assert keypoint_ap(annotations, poses)["AR"] == pytest.approx(1.0)


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(InvalidAnnotation, match="image 7"):
        keypoint_ap(AnnotationSet(Skeleton.load("coco17")), {7: []})


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    annotations = DrawnPeople(Skeleton.load("coco17"), num_images=1).annotations
    keypoint_ap(annotations, perfect(annotations))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["coco17", "humanart21"])
def test_numbers_equal_pycocotools_fed_with_files(name: str) -> None:
    annotations = DrawnPeople(Skeleton.load(name), num_images=9, seed=4).annotations
    poses = noisy(annotations)
    keypoints = list(keypoint_ap(annotations, poses).values())
    assert 0.1 < keypoints[0] < 0.95
    np.testing.assert_allclose(keypoints, raw_stats(annotations, poses, "keypoints"))
    np.testing.assert_allclose(list(box_ap(annotations, poses).values()), raw_stats(annotations, poses, "bbox"))


def raw_stats(annotations: AnnotationSet, poses: dict[int, list[Pose]], kind: str) -> np.ndarray:
    """The usual way: a ground truth dictionary, ``loadRes`` for results, ``summarize``."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": image.id} for image in annotations.images],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": person.id,
                "image_id": image.id,
                "category_id": 1,
                "iscrowd": 0,
                "area": person.area_px,
                "bbox": xywh(person.box_px),
                "num_keypoints": int((person.visibility > 0).sum()),
                "keypoints": np.column_stack([person.keypoints_px, person.visibility]).ravel().tolist(),
            }
            for image in annotations.images
            for person in image.persons
        ],
    }
    results = [
        {"image_id": id, "category_id": 1, "score": pose.score}
        | ({"bbox": xywh(pose.box_px)} if kind == "bbox" else {"keypoints": triples(pose)})
        for id, persons in poses.items()
        for pose in persons
    ]
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(results), kind)
        evaluator.params.kpt_oks_sigmas = np.array(annotations.skeleton.sigmas)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def xywh(box_px: np.ndarray) -> list[float]:
    x0, y0, x1, y1 = box_px.tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def triples(pose: Pose) -> list[float]:
    return np.column_stack([pose.keypoints_px, pose.visibility]).ravel().tolist()


def test_the_ap_of_one_image_is_that_of_a_data_set_of_one() -> None:
    annotations = DrawnPeople(Skeleton.load("coco17"), num_images=6).annotations
    for image in annotations.images:
        found = noisy(annotations)[image.id]
        alone = keypoint_ap(AnnotationSet(annotations.skeleton, (image,)), {image.id: found})
        assert image_ap(image, annotations.skeleton, found) == pytest.approx(alone["AP"])
    assert image_ap(replace(annotations.images[0], persons=()), annotations.skeleton, []) == -1
