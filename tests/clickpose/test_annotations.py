"""Annotated persons keep their labels from one skeleton to another, by name."""

from dataclasses import replace

import numpy as np

from clickpose.annotations import (
    AnnotatedImage,
    AnnotationSet,
    PersonAnnotation,
    convert_set,
    only_keypoints,
    split_by_crowding,
    to_skeleton,
)
from clickpose.skeleton import Skeleton

COCO, HUMAN_ART, CROWD = (Skeleton.load(name) for name in ("coco17", "humanart21", "crowdpose14"))


def make_person(skeleton: Skeleton = COCO, *, id: int = 7, unlabelled: tuple[int, ...] = (3,), **changes):
    """A person whose keypoint k lies at (10 k, 10 k + 5)."""
    visibility = np.where(np.isin(np.arange(len(skeleton)), unlabelled), 0, 1 + np.arange(len(skeleton)) % 2)
    xy = np.arange(len(skeleton), dtype=np.float32)[:, None] * 10 + np.float32([0, 5])
    keypoints_px = np.where(visibility[:, None] > 0, xy, 0).astype(np.float32)
    person = PersonAnnotation(id, keypoints_px, visibility, np.float32([0, 0, 160, 165]), area_px=500.0)
    return replace(person, **changes)


def same(first: PersonAnnotation, second: PersonAnnotation) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in PersonAnnotation.__annotations__)


def test_a_larger_skeleton_and_back_loses_nothing() -> None:
    person = make_person(is_crowd=True)
    assert same(to_skeleton(to_skeleton(person, COCO, HUMAN_ART), HUMAN_ART, COCO), person)


def test_keypoints_follow_their_names_and_the_rest_has_no_label() -> None:
    moved = to_skeleton(make_person(), COCO, CROWD)
    for i, name in enumerate(CROWD.keypoints):
        if name in COCO.keypoints:
            j = COCO.index(name)
            assert moved.visibility[i] == make_person().visibility[j]
            assert np.array_equal(moved.keypoints_px[i], make_person().keypoints_px[j])
        else:
            assert moved.visibility[i] == 0 and not moved.keypoints_px[i].any()
    assert np.array_equal(moved.box_px, make_person().box_px) and moved.area_px == make_person().area_px


def test_labelled_keypoints_are_counted_visible_or_not() -> None:
    assert make_person(unlabelled=(3,)).num_labelled == 16
    assert make_person(unlabelled=tuple(range(17))).num_labelled == 0


def test_persons_are_counted_without_crowds_and_without_unlabelled_persons() -> None:
    nobody = make_person(unlabelled=tuple(range(17)))
    image = AnnotatedImage(1, "a.png", (200, 200), (make_person(), make_person(is_crowd=True), nobody))
    annotations = AnnotationSet(COCO, (image, replace(image, id=2)))
    assert annotations.num_persons == 2 and len(annotations) == 2


def test_a_whole_set_is_carried_over_with_names_and_sizes() -> None:
    image = AnnotatedImage(4, "people/b.png", (640, 480), (make_person(), make_person(id=8)), crowd_index=0.4)
    annotations = AnnotationSet(COCO, (image,))
    assert convert_set(annotations, COCO) is annotations
    (moved,) = convert_set(annotations, CROWD).images
    assert replace(moved, persons=()) == replace(image, persons=())
    assert all(same(a, to_skeleton(b, COCO, CROWD)) for a, b in zip(moved.persons, image.persons, strict=True))


def test_images_are_split_by_how_crowded_they_are() -> None:
    indices = (0.0, 0.09, 0.1, 0.5, 0.8, 0.81, 1.0, None)
    images = tuple(AnnotatedImage(i, "a.png", (9, 9), crowd_index=index) for i, index in enumerate(indices))
    shares = split_by_crowding(AnnotationSet(CROWD, images))
    assert {name: [image.id for image in share.images] for name, share in shares.items()} == {
        "easy": [0, 1],
        "medium": [2, 3, 4],
        "hard": [5, 6],
    }
    assert all(share.skeleton == CROWD for share in shares.values())
    assert split_by_crowding(AnnotationSet(COCO, images[-1:])) == {}


def test_keypoints_that_are_not_asked_for_lose_their_label() -> None:
    annotations = AnnotationSet(COCO, (AnnotatedImage(1, "a.png", (200, 200), (make_person(unlabelled=(1,)),)),))
    (kept,) = only_keypoints(annotations, ["nose", "left_eye"]).images[0].persons
    assert np.flatnonzero(kept.visibility).tolist() == [0] and not kept.keypoints_px[1:].any()
    assert only_keypoints(annotations, ["left_eye"]).num_persons == 0
