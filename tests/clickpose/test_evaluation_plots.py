"""Poses drawn on images, and figures of what was measured: everything measured is shown, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from clickpose.annotations import Pose
from clickpose.evaluation.plots import click_bars, click_curve, draw_poses, time_bars
from clickpose.skeleton import Skeleton

SKELETON = Skeleton("stick", ("top", "end"), (0.1, 0.1), links=((0, 1),))
POSE = Pose(
    keypoints_px=np.array([[20, 20], [80, 80]], np.float32),
    visibility=np.array([2, 2]),
    scores=np.ones(2, np.float32),
    box_px=np.array([20, 20, 80, 80], np.float32),
    score=1.0,
    held=np.array([False, False]),
)
METRICS = {"AP@C0": 0.5, "AP@C1": 0.7, "AP@C10": 0.9, "NoC@85": 3.0, "clicks@85": 2.0, "manual_clicks@85": 4.0}


def grey() -> Image.Image:
    return Image.new("RGB", (100, 100), (50, 50, 50))


def changed(pose: Pose) -> np.ndarray:
    """(H, W) pixels that drawing the pose changes."""
    return (np.asarray(draw_poses(grey(), [pose], SKELETON)) != 50).any(-1)


def test_limbs_and_keypoints_are_drawn_on_a_copy() -> None:
    image = grey()
    drawn = draw_poses(image, [POSE], SKELETON)
    assert np.array_equal(image, grey())
    assert drawn.getpixel((50, 50)) != (50, 50, 50) != drawn.getpixel((20, 20))


def test_an_absent_keypoint_is_left_out_with_its_limb() -> None:
    pixels = changed(replace(POSE, visibility=np.array([2, 0])))
    assert pixels[20, 20] and not pixels[50, 50] and not pixels[80, 80]


def test_an_occluded_keypoint_is_hollow() -> None:
    pixels = changed(replace(POSE, visibility=np.array([0, 1])))
    assert not pixels[80, 80] and pixels[80, 82]


def test_what_is_likely_wrong_is_drawn_thin() -> None:
    unsure = replace(POSE, scores=np.array([1.0, 0.1], np.float32))
    assert changed(unsure).sum() < 0.7 * changed(POSE).sum()
    assert changed(unsure)[80, 80]


def test_a_placed_keypoint_wears_a_white_ring() -> None:
    drawn = np.asarray(draw_poses(grey(), [replace(POSE, held=np.array([True, False]))], SKELETON))
    white = (drawn == 255).all(-1)
    assert white[10:30, 10:30].any() and not white[70:90, 70:90].any()


def test_the_click_curve_shows_every_model_in_order_of_clicks() -> None:
    figure = click_curve({"champion": METRICS, "challenger": METRICS | {"AP@C0": None}})
    champion, challenger = figure.axes[0].lines
    assert champion.get_xydata().tolist() == [[0, 0.5], [1, 0.7], [10, 0.9]]
    assert challenger.get_xydata().tolist() == [[1, 0.7], [10, 0.9]]


def test_the_click_curve_tells_answers_from_first_scores_and_from_the_hand() -> None:
    scored = METRICS | {"AP@C1/first_scores": 0.65, "AP@C1/by_hand": 0.6}
    deaf = METRICS | {f"{name}/by_hand": METRICS[name] for name in METRICS if name.startswith("AP@C")}
    lines = click_curve({"model": scored, "deaf": deaf}).axes[0].lines
    assert [line.get_label() for line in lines] == ["model", "model, first-pass scores", "model, by hand", "deaf"]
    assert [line.get_linestyle() for line in lines] == ["-", ":", "--", "-"]


def test_figures_of_what_was_not_measured_are_empty() -> None:
    assert not click_bars({"model": {"AP@C0": 0.5}}).axes[0].patches
    assert not click_curve({"model": {"clicks@85": 2.0}}).axes[0].lines


def test_bars_keep_the_published_measure_apart(tmp_path: Path) -> None:
    figure = click_bars({"model": METRICS})
    published, per_person = figure.axes
    assert [bar.get_height() for bar in published.patches] == [3.0]
    assert [bar.get_height() for bar in per_person.patches] == [2.0, 4.0]
    figure.savefig(tmp_path / "bars.png")
    assert Image.open(tmp_path / "bars.png").width > 100


def test_bars_of_time_have_the_deviation_on_top() -> None:
    figure = time_bars({"by hand": (30.0, 4.0), "model": (10.0, 0.0)})
    assert [bar.get_height() for bar in figure.axes[0].patches] == [30.0, 10.0]
    ((low, high), _) = (segment[:, 1].tolist() for segment in figure.axes[0].collections[0].get_segments())
    assert (low, high) == (26.0, 34.0)
