"""Drawn people: the same for the same seed, and their labels lie where they were drawn."""

import numpy as np
import pytest

from clickpose.annotations import OCCLUDED, VISIBLE
from clickpose.skeleton import Skeleton, built_in
from clickpose.synthetic import DrawnPeople, draw_people

COCO17 = Skeleton.load("coco17")


def test_the_same_seed_draws_the_same_image() -> None:
    first, second, other = (draw_people(COCO17, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", built_in())
def test_labels_lie_in_the_image_and_in_the_box(name: str) -> None:
    drawn = DrawnPeople(Skeleton.load(name), num_images=12, seed=1)
    for image in drawn.annotations.images:
        for person in image.persons:
            labelled_px = person.keypoints_px[person.visibility > 0]
            assert len(labelled_px) >= 5
            assert (labelled_px >= person.box_px[:2]).all() and (labelled_px <= person.box_px[2:]).all()
            assert (labelled_px >= 0).all() and (labelled_px < image.size_wh).all()
            assert not person.keypoints_px[person.visibility == 0].any()
            assert 0 < person.area_px <= np.prod(person.box_px[2:] - person.box_px[:2])


def test_images_have_their_size_and_every_number_of_persons() -> None:
    drawn = DrawnPeople(COCO17, num_images=6, size_wh=(200, 150), max_persons=3)
    assert [len(image.persons) for image in drawn.annotations.images] == [1, 2, 3, 1, 2, 3]
    assert {drawn.load_image(image).size for image in drawn.annotations.images} == {(200, 150)}
    ids = [person.id for image in drawn.annotations.images for person in image.persons]
    assert len(set(ids)) == drawn.annotations.num_persons == 12


def test_a_visible_wrist_has_the_colour_of_its_side_and_a_hidden_one_does_not() -> None:
    drawn = DrawnPeople(COCO17, num_images=30, seed=2)
    lime = {VISIBLE: [], OCCLUDED: []}
    for image in drawn.annotations.images:
        pixels = np.asarray(drawn.load_image(image)).astype(int)
        for person in image.persons:
            index = COCO17.index("left_wrist")
            x, y = person.keypoints_px[index].astype(int)
            if person.visibility[index] > 0:
                red, green, blue = pixels[y, x]
                lime[person.visibility[index]].append(green > 1.3 * red and green > 1.3 * blue)
    assert np.mean(lime[VISIBLE]) > 0.9
    assert np.mean(lime[OCCLUDED]) < 0.5


def test_skeletons_share_the_labels_of_shared_names() -> None:
    _, coco = draw_people(COCO17, seed=5)
    _, human_art = draw_people(Skeleton.load("humanart21"), seed=5)
    for small, large in zip(coco.persons, human_art.persons, strict=True):
        assert np.array_equal(small.keypoints_px, large.keypoints_px[:17])
        assert large.visibility[17:].any()
