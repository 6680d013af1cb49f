"""What is chosen is useful, diverse, in order, and a tenth of it at random."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import Pose
from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from pipeline.candidates import read_candidates, shape
from pipeline.listing import ListedImage
from pipeline.prelabelled import Prelabel
from pipeline.selection import NAMES, k_centre, select
from pipeline.stability import mirror_difference, movement

PAW = Skeleton.from_dict({"name": "paw", "keypoints": ["left_a", "right_a", "b"]})


def pose(seed: int = 0, spread: float = 1.0) -> Pose:
    random = np.random.default_rng(seed)
    places = (50 + spread * random.uniform(-20, 20, (3, 2))).astype(np.float32)
    box = np.array([20, 20, 80, 80], np.float32)
    return Pose(places, np.full(3, 2), np.full(3, 0.5, np.float32), box, 0.5, np.zeros(3, bool))


def prelabel(i: int, expected: float = 0.0, poses: tuple[Pose, ...] | None = None, **more: Any) -> Prelabel:
    image = ListedImage(f"/p/{i}.jpg", name=f"{i}.jpg")
    return Prelabel(image, (100, 100), (pose(i),) if poses is None else poses, "v1", expected, **more)


def test_the_most_expensive_images_come_first_and_every_tenth_is_drawn_at_random() -> None:
    candidates = read_candidates(prelabel(i, expected=float(i)) for i in range(400))
    choices = select(candidates, 40)
    assert [choice.is_control for choice in choices] == ([False] * 9 + [True]) * 4
    costs = [int(choice.name[:-4]) for choice in choices if not choice.is_control]
    assert costs == sorted(costs, reverse=True) and min(costs) >= 400 - 4 - 3 * 36
    assert len({choice.name for choice in choices}) == 40
    assert choices[0].reason == f"{float(costs[0]):.1f} clicks expected, 1 person"


def test_the_control_arm_does_not_depend_on_the_criterion_and_repeats_with_its_seed() -> None:
    candidates = read_candidates(prelabel(i, expected=float(i % 7), movement=float(i % 5)) for i in range(100))

    def control(**how):
        return [choice.name for choice in select(candidates, 20, **how) if choice.is_control]

    assert control(by="expected-clicks") == control(by="loop") == control(by="core-set")
    assert control(seed=1) != control(seed=2) == control(seed=2)


def test_images_that_look_alike_are_not_chosen_twice() -> None:
    twins = [prelabel(i, expected=9.0, poses=(pose(0),)) for i in range(20)]
    others = [prelabel(i, expected=9.5, poses=(pose(i),)) for i in range(20, 23)]
    chosen = {choice.name for choice in select(read_candidates([*twins, *others]), 4)}
    assert {"20.jpg", "21.jpg", "22.jpg"} <= chosen


def test_images_whose_persons_look_alike_are_not_chosen_twice() -> None:
    same = [prelabel(i, poses=(pose(0),), appearance=(1.0, float(i % 2))) for i in range(20)]
    other = prelabel(99, poses=(pose(0),), appearance=(9.0, 0.0))
    nobody = prelabel(77, poses=())  # looks like the mean
    candidates = read_candidates([*same, other, nobody])
    chosen = [choice.name for choice in select(candidates, 5, "core-set", seed=3)]
    assert "99.jpg" in chosen
    assert np.isfinite(candidates.embedding).all()


def test_k_centre_takes_the_farthest_each_time() -> None:
    points = np.array([[0.0], [1.0], [10.0], [11.0], [5.0]])
    assert k_centre(points, 3).tolist() == [0, 3, 4]
    assert sorted(k_centre(points, 9).tolist()) == [0, 1, 2, 3, 4]
    assert k_centre(np.zeros((3, 2)), 3).tolist() == [0, 1, 2]  # all alike: each once
    assert len(k_centre(np.zeros((0, 2)), 3)) == 0


@pytest.mark.parametrize("by", NAMES)
def test_every_criterion_chooses_as_many_as_there_are(by: str) -> None:
    found = [prelabel(i, expected=1.0, mirror_difference=0.1) for i in range(12)] + [prelabel(99, poses=())]
    assert len(select(read_candidates(found), 50, by)) == 13
    assert select(read_candidates([]), 5, "random") == []


def test_the_most_unusual_pose_and_the_least_stable_one_are_found() -> None:
    usual = [prelabel(i, poses=(pose(i, spread=0.1),)) for i in range(30)]
    odd = prelabel(77, poses=(pose(5, spread=0.1), pose(3, spread=3.0)), movement=0.3, mirror_difference=0.4)
    candidates = read_candidates([*usual, odd])
    for by in ("likelihood", "loop", "flip"):
        assert select(candidates, 3, by)[0].name == "77.jpg"


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("expected-clicks", "1.0 clicks expected, 1 person"),
        ("least-score", "the least sure person scores 0.50; 1.0 clicks expected, 1 person"),
        ("loop", "poses move by 0.200 of their size in another round; 1.0 clicks expected, 1 person"),
        ("flip", "poses differ by 0.100 of their size in the mirrored image; 1.0 clicks expected, 1 person"),
        ("likelihood", "a pose 0.0 deviations from the mean; 1.0 clicks expected, 1 person"),
        ("mix", "mean percentile 50%; 1.0 clicks expected, 1 person"),
        ("core-set", "unlike the others chosen; 1.0 clicks expected, 1 person"),
        ("random", "drawn at random"),
    ],
)
def test_every_choice_has_a_reason_that_a_person_can_read(by: str, reason: str) -> None:
    candidates = read_candidates([prelabel(0, expected=1.0, movement=0.2, mirror_difference=0.1)])
    assert [choice.reason for choice in select(candidates, 1, by)] == [reason]


def test_a_missing_measure_is_explained() -> None:
    with pytest.raises(InvalidConfig, match="--mirror"):
        select(read_candidates([prelabel(0)]), 1, "flip")
    some = read_candidates([prelabel(0), prelabel(1, mirror_difference=0.0)])
    assert [choice.reason.partition(";")[0] for choice in select(some, 2, "flip")] == [
        "poses differ by 0.000 of their size in the mirrored image",
        "not looked at mirrored",
    ]
    with pytest.raises(InvalidConfig, match="choose one of expected-clicks"):
        select(read_candidates([prelabel(0)]), 1, "luck")


def test_annotated_images_are_left_out() -> None:
    candidates = read_candidates([prelabel(0), prelabel(1)], frozenset({"0.jpg"}))
    assert candidates.names == ["1.jpg"]


def test_little_is_kept_of_each_candidate() -> None:
    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        read_candidates(prelabel(i, poses=(pose(i), pose(i + 1)), appearance=(1.0,) * 32) for i in range(count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(10)  # what is computed on first use
    assert (peak_bytes(1_500) - peak_bytes(500)) / 1_000 < 2_000


def test_a_shape_does_not_depend_on_place_and_size() -> None:
    one = pose()
    moved = Pose(one.keypoints_px * 3 + 7, one.visibility, one.scores, one.box_px * 3 + 7, one.score, one.held)
    np.testing.assert_allclose(shape(one), shape(moved), atol=1e-6)


def test_movement_is_measured_in_sizes_of_the_person() -> None:
    one = pose()
    moved = Pose(one.keypoints_px + np.array([6, 0]), one.visibility, one.scores, one.box_px, one.score, one.held)
    assert movement([one], [moved]) == pytest.approx(0.1)
    assert movement([], []) == movement([one], [one]) == 0


def test_the_mirrored_image_shows_the_same_people_or_it_does_not() -> None:
    one, width = pose(), 100
    places = one.keypoints_px[[1, 0, 2]] * (-1, 1) + (width - 1, 0)
    mirrored = Pose(places.astype(np.float32), one.visibility, one.scores, one.box_px, one.score, one.held)
    assert mirror_difference([one], [mirrored], width, PAW) == pytest.approx(0, abs=1e-6)
    assert mirror_difference([one], [one], width, PAW) > 0.05
    assert mirror_difference([one], [], width, PAW) == 1 and mirror_difference([], [], width, PAW) == 0
