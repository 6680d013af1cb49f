"""How many images a criterion needs, read from curves that chance makes rough."""

import math

import pytest

from examples.selection import as_good_as_random, images_needed

IMAGES = [200, 400, 600, 800]


def test_the_images_needed_lie_between_the_rounds_around_the_goal() -> None:
    assert images_needed([3.0, 2.8, 2.7, 2.6], IMAGES, 2.9) == pytest.approx(300)
    assert images_needed([3.0, 2.8, 2.7, 2.6], IMAGES, 2.6) == pytest.approx(800)


def test_a_goal_that_the_first_images_meet_needs_no_more() -> None:
    assert images_needed([3.0, 2.8, 2.7, 2.6], IMAGES, 3.5) == 200


def test_a_goal_that_is_never_met_is_never_met() -> None:
    assert images_needed([3.0, 2.8, 2.7, 2.6], IMAGES, 2.5) == math.inf


def test_one_lucky_training_does_not_count_as_reached() -> None:
    """Clicks of 2.6 after 400 images and 2.9 after 600 are two trainings of about 2.75."""
    assert images_needed([3.0, 2.6, 2.9, 2.7], IMAGES, 2.65) == math.inf


def test_random_needs_all_of_its_own_images_and_a_better_criterion_fewer() -> None:
    curves = {"random": [3.0, 2.9, 2.8, 2.7], "best": [3.0, 2.7, 2.6, 2.5]}
    rows = [
        {"by": by, "seed": seed, "round": number, "images": IMAGES[number], "by hand": clicks + seed / 10}
        for by, curve in curves.items()
        for number, clicks in enumerate(curve)
        for seed in (0, 1)
    ]
    needed = as_good_as_random(rows, "by hand")
    assert needed["random"] == pytest.approx([800, 800, 800])
    assert needed["best"] == pytest.approx([400, 400, 400])
