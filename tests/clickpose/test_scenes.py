"""Scenes: whatever happens to an image happens to its labels."""

from dataclasses import replace

import numpy as np
import pytest

from clickpose.errors import InvalidConfig
from clickpose.model import mobilenet_v2_demo, resnet50_coco
from clickpose.training.augment import Sample
from clickpose.training.scenes import SceneConfig, compose_scene, move_person
from tests.clickpose.builders import build_person
from tests.clickpose.dots import COLOURS, HANDS, POINTS, around, dotted, find_dot

STILL = SceneConfig(max_pictures=1, scale=(1, 1), rotation_deg=0, shift=0, flip=0, colour=0)
WILD = SceneConfig(scale=(0.5, 1.2), rotation_deg=40, shift=0.2, flip=0.5, colour=0)


def scene(samples: list[Sample], size_wh=(120, 120), config: SceneConfig = STILL, seed: int = 0) -> Sample:
    return compose_scene(samples, size_wh, HANDS, config, np.random.default_rng(seed))


def test_no_transform_changes_nothing() -> None:
    sample = dotted()
    still = scene([sample])
    assert np.array_equal(still.image, sample.image)
    (person,), (before,) = still.persons, sample.persons
    np.testing.assert_allclose(person.keypoints_px, before.keypoints_px, atol=1e-4)
    np.testing.assert_allclose(person.box_px, before.box_px, atol=1e-4)
    assert person.area_px == pytest.approx(before.area_px)


@pytest.mark.parametrize("seed", range(12))
def test_keypoints_follow_their_pixels_under_the_name_they_now_have(seed: int) -> None:
    config = replace(WILD, flip=float(seed % 2))
    drawn = scene([dotted((240, 240), [(2 * x, 2 * y) for x, y in POINTS], radius=7)], config=config, seed=seed)
    shown_as = COLOURS if seed % 2 == 0 else [COLOURS[i] for i in HANDS.flip_permutation]
    for xy, visibility, colour in zip(
        drawn.persons[0].keypoints_px, drawn.persons[0].visibility, shown_as, strict=True
    ):
        if visibility and (xy > 15).all() and (xy < 105).all():
            np.testing.assert_allclose(find_dot(drawn.image, colour, around(xy)), xy, atol=1.0)


def test_large_images_shrink_without_moving_their_labels() -> None:
    points = [(10 * x, 10 * y) for x, y in POINTS]
    drawn = scene([dotted((1200, 1200), points, radius=50)])
    for xy, colour in zip(drawn.persons[0].keypoints_px, COLOURS, strict=True):
        np.testing.assert_allclose(find_dot(drawn.image, colour, around(xy)), xy, atol=0.7)


def test_a_mirrored_person_trades_left_and_right() -> None:
    mirrored = scene([dotted()], config=replace(STILL, flip=1.0)).persons[0]
    (head, left, right) = POINTS
    expected = [(120 - x, y) for x, y in (head, right, left)]
    np.testing.assert_allclose(mirrored.keypoints_px, expected, atol=1e-4)


def test_nothing_is_mirrored_where_left_and_right_are_not_known() -> None:
    nameless = replace(HANDS, flip_pairs=())
    config = replace(STILL, flip=1.0)
    (person,) = compose_scene([dotted()], (120, 120), nameless, config, np.random.default_rng(0)).persons
    np.testing.assert_allclose(person.keypoints_px, POINTS, atol=1e-4)


def test_size_and_area_grow_together() -> None:
    half = scene([dotted((240, 240))]).persons[0]
    assert half.area_px == pytest.approx(dotted().persons[0].area_px / 4)
    np.testing.assert_allclose(half.keypoints_px, np.array(POINTS) / 2, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_image_has_a_cell_of_its_own(count: int) -> None:
    samples = [Sample(s.image, (replace(s.persons[0], id=i),)) for i, s in enumerate([dotted()] * count)]
    drawn = scene(samples, (160, 200), replace(STILL, max_pictures=4))
    assert [person.id for person in drawn.persons] == list(range(count))
    boxes = [person.box_px for person in drawn.persons]
    for i, (l0, t0, r0, b0) in enumerate(boxes):
        assert all(r0 <= l1 or r1 <= l0 or b0 <= t1 or b1 <= t0 for l1, t1, r1, b1 in boxes[:i])
    for person in drawn.persons:
        for xy, colour in zip(person.keypoints_px, COLOURS, strict=True):
            np.testing.assert_allclose(find_dot(drawn.image, colour, around(xy, 8)), xy, atol=1.0)


SHIFTED = np.array([[1.0, 0.0, 50.0], [0.0, 1.0, 0.0]])


def test_keypoints_that_leave_lose_their_label() -> None:
    moved = move_person(build_person(POINTS), SHIFTED, (120, 120), None)
    assert moved.visibility.tolist() == [2, 0, 2]
    np.testing.assert_allclose(moved.keypoints_px, [(110, 40), (0, 0), (85, 80)])
    assert moved.box_px[2] <= 120


def test_persons_that_leave_are_dropped_and_crowds_are_not() -> None:
    far = SHIFTED + np.array([[0, 0, 200], [0, 0, 0]])
    assert move_person(build_person(POINTS), far, (120, 120), None) is None
    assert move_person(build_person(POINTS, is_crowd=True), far, (120, 120), None).is_crowd


def test_missing_labels_stay_missing() -> None:
    moved = move_person(build_person([(0, 0), *POINTS[1:]], visibility=[0, 2, 1]), SHIFTED, (200, 200), HANDS)
    assert moved.visibility.tolist() == [0, 1, 2] and not moved.keypoints_px[0].any()


@pytest.mark.parametrize("seed", range(8))
def test_labels_stay_inside_the_scene_and_the_box(seed: int) -> None:
    for person in scene([dotted()] * 4, (200, 160), replace(WILD, scale=(0.75, 2.5)), seed).persons:
        labelled = person.keypoints_px[person.visibility > 0]
        assert len(labelled) and (labelled >= 0).all() and (labelled < (200, 160)).all()
        assert (labelled >= person.box_px[:2] - 0.01).all() and (labelled <= person.box_px[2:] + 0.01).all()


def test_the_same_seed_makes_the_same_scene() -> None:
    first, second, other = (scene([dotted()] * 2, config=WILD, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.image, second.image) and not np.array_equal(first.image, other.image)
    assert np.array_equal(first.persons[0].keypoints_px, second.persons[0].keypoints_px)


def test_scenes_are_as_large_as_what_the_network_sees_unless_their_sizes_are_given() -> None:
    assert SceneConfig().fit_to(mobilenet_v2_demo()).canvas_sizes_px == ((192, 192), (160, 224), (224, 160))
    assert SceneConfig().fit_to(resnet50_coco()).canvas_sizes_px == ((800, 800), (667, 933), (933, 667))
    given = SceneConfig(canvas_sizes_px=((64, 96),))
    assert given.fit_to(resnet50_coco()) == given


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"max_pictures": 3}, "max_pictures is 3, must be 1, 2 or 4"),
        ({"scale": (1.2, 0.8)}, "scale .* ascending"),
        ({"scale": (0.0, 1.0)}, "scale .* positive"),
        ({"flip": 1.5}, r"flip is 1\.5"),
        ({"canvas_sizes_px": ()}, "canvas_sizes_px"),
        ({"canvas_sizes_px": ((192, 16),)}, "canvas_sizes_px .* 32 pixels or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        SceneConfig(**changes)
