"""Annotations that look wrong are named with the reason, and the right ones are left alone."""

from dataclasses import replace

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, PersonAnnotation, Pose
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from pipeline.suspicion import Sides, Suspicion, find_suspicious, sides_of

SKELETON = Skeleton.load("coco17")
IMAGES = DrawnPeople(SKELETON, num_images=60, seed=5, max_persons=2).annotations.images
MIRROR = SKELETON.flip_permutation


def swap(image: AnnotatedImage) -> AnnotatedImage:
    """The same annotations with left and right swapped."""

    def other_way(person: PersonAnnotation) -> PersonAnnotation:
        return replace(person, keypoints_px=person.keypoints_px[MIRROR], visibility=person.visibility[MIRROR])

    return replace(image, persons=tuple(map(other_way, image.persons)))


class Champion:
    """Finds everybody, a few pixels off, and confuses the sides of a share of the persons."""

    def __init__(self, error: float, seed: int = 0, off_px: float = 2.0) -> None:
        rng = np.random.default_rng(seed)
        self.poses = {
            image.file_name: [self._see(person, rng.random() < error, off_px, rng) for person in image.persons]
            for image in IMAGES
        }

    def _see(self, person: PersonAnnotation, confused: bool, off_px: float, rng: np.random.Generator) -> Pose:
        seen_px = person.keypoints_px + rng.normal(0, off_px, person.keypoints_px.shape).astype(np.float32)
        count = len(seen_px)
        keypoints_px = seen_px[MIRROR] if confused else seen_px
        return Pose(keypoints_px, np.full(count, 2), np.ones(count), person.box_px, 0.9, np.zeros(count, bool))

    def __call__(self, image: AnnotatedImage) -> list[Pose]:
        return self.poses[image.file_name]


def by(user: str, images: tuple[AnnotatedImage, ...]) -> dict[str, str]:
    return {image.file_name: user for image in images}


def names(found: list[Suspicion]) -> list[str]:
    return [suspicion.file_name for suspicion in found]


NEW, TRUSTED = IMAGES[:20], IMAGES[20:40]
SWAPPED = tuple(map(swap, NEW))


@pytest.mark.parametrize("error", [0.0, 0.1, 0.25])
def test_every_image_of_a_swapped_batch_is_named(error: float) -> None:
    found = find_suspicious(SWAPPED, by("eve", SWAPPED), TRUSTED, SKELETON, Champion(error))
    assert names(found) == [image.file_name for image in NEW]
    assert all("annotations of eve" in suspicion.reason for suspicion in found)


def test_a_swapped_batch_is_named_in_the_first_round_too() -> None:
    assert len(find_suspicious(SWAPPED, by("eve", SWAPPED), (), SKELETON, Champion(0.1))) == 20


@pytest.mark.parametrize("error", [0.0, 0.1, 0.3])
def test_right_annotations_are_hardly_ever_named(error: float) -> None:
    named = [find_suspicious(NEW, by("ann", NEW), TRUSTED, SKELETON, Champion(error, seed)) for seed in range(20)]
    assert sum(map(bool, named)) <= 1


def test_a_model_that_knows_nothing_accuses_no_one_of_errors() -> None:
    assert find_suspicious(SWAPPED, by("eve", SWAPPED), TRUSTED, SKELETON, Champion(0.5, off_px=200)) == []
    assert find_suspicious(SWAPPED, by("eve", SWAPPED), TRUSTED, SKELETON, lambda image: []) == []


def test_the_others_of_a_round_are_left_alone() -> None:
    right = IMAGES[40:]
    found = find_suspicious(SWAPPED + right, by("eve", SWAPPED) | by("ann", right), TRUSTED, SKELETON, Champion(0.1))
    assert names(found) == [image.file_name for image in NEW]


def test_of_an_annotator_who_erred_at_times_only_those_are_named() -> None:
    mixed = SWAPPED[:6] + IMAGES[6:20]
    found = find_suspicious(mixed, by("ann", mixed), TRUSTED, SKELETON, Champion(0.0))
    assert names(found) == [image.file_name for image in SWAPPED[:6]]


def test_keypoints_outside_the_image_are_named() -> None:
    image = IMAGES[0]
    keypoints_px = image.persons[0].keypoints_px.copy()
    first = int(np.flatnonzero(image.persons[0].visibility)[0])
    keypoints_px[first] = (image.size_wh[0] * 1.2, 5)
    gone = replace(image, persons=(replace(image.persons[0], keypoints_px=keypoints_px), *image.persons[1:]))
    (found,) = find_suspicious([gone, IMAGES[1]], {}, (), SKELETON, Champion(0.0))
    assert found.file_name == image.file_name
    assert SKELETON.keypoints[first] in found.reason and "outside" in found.reason


def test_a_click_at_the_very_edge_is_inside() -> None:
    image = IMAGES[0]
    edge = np.where(image.persons[0].visibility[:, None] > 0, image.size_wh, 0).astype(np.float32)
    at_edge = replace(image, persons=(replace(image.persons[0], keypoints_px=edge),))
    assert find_suspicious([at_edge], {}, (), SKELETON, lambda _: []) == []


def test_a_person_without_both_sides_tells_nothing() -> None:
    image = IMAGES[0]
    visibility = image.persons[0].visibility.copy()
    visibility[[SKELETON.index(name) for name in SKELETON.keypoints if name.startswith("right_")]] = 0
    half = replace(image, persons=(replace(image.persons[0], visibility=visibility),))
    assert sides_of(half, Champion(0.0)(image), SKELETON) == Sides(0, 0)
