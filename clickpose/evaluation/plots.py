"""Figures of results: poses on a photograph, the click curve, bars of clicks and of time, and how reliable scores are.

Figures are made without pyplot, so nothing is shown, kept open or shared between threads; save one with
``figure.savefig(path)``. Matplotlib is imported when a figure is made.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from clickpose.annotations import ABSENT, OCCLUDED, Pose
from clickpose.evaluation.metric_names import Metrics
from clickpose.evaluation.reliability import Bin
from clickpose.evaluation.sensitivity import Sensitivity
from clickpose.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOLDEN_RATIO = 0.618034  # hues this far apart never come close to each other
UNSURE = 0.25  # score of a keypoint below which it is drawn thin
RING, EDGE = (255, 255, 255), (0, 0, 0)
CURVES = (("", "-", ""), ("/first_scores", ":", ", first-pass scores"), ("/by_hand", "--", ", by hand"))


def draw_poses(image: Image.Image, poses: Sequence[Pose], skeleton: Skeleton) -> Image.Image:
    """Return a copy of the image with every pose drawn on it, in one colour per person.

    Limbs are the skeleton's links; a keypoint that is likely wrong is a small dot on thin limbs, an occluded one a
    hollow dot, an absent one is left out, and one placed by a human has a white ring.
    """
    drawn = image.convert("RGB")
    canvas = ImageDraw.Draw(drawn)
    for index, pose in enumerate(poses):
        color, radius_px = _color(index), _radius_px(pose, image.size)
        _draw_limbs(canvas, pose, skeleton, color, max(1, round(radius_px)))
        _draw_keypoints(canvas, pose, color, radius_px)
    for pose in poses:
        _draw_rings(canvas, pose, _radius_px(pose, image.size))
    return drawn


def _radius_px(pose: Pose, size_wh: tuple[int, int]) -> float:
    """Radius of a dot, smaller on a person who is small in the image."""
    side_px = float((pose.box_px[2:] - pose.box_px[:2]).max())
    return min(max(2.0, 0.006 * max(size_wh)), max(1.0, 0.04 * side_px))


def _draw_limbs(
    canvas: ImageDraw.ImageDraw, pose: Pose, skeleton: Skeleton, color: tuple[int, int, int], width_px: int
) -> None:
    for start, end in skeleton.links:
        if pose.visibility[start] != ABSENT and pose.visibility[end] != ABSENT:
            ends_px = [tuple(pose.keypoints_px[index].tolist()) for index in (start, end)]
            is_sure = pose.scores[[start, end]].min() >= UNSURE
            canvas.line(ends_px, fill=color, width=width_px if is_sure else 1)


def _draw_keypoints(canvas: ImageDraw.ImageDraw, pose: Pose, color: tuple[int, int, int], radius_px: float) -> None:
    for (x, y), visibility, score in zip(pose.keypoints_px.tolist(), pose.visibility, pose.scores, strict=True):
        if visibility != ABSENT:
            fill = None if visibility == OCCLUDED else color
            circle = _circle(x, y, radius_px if score >= UNSURE else radius_px / 2)
            canvas.ellipse(circle, fill=fill, outline=color, width=max(1, round(radius_px / 3)))


def _draw_rings(canvas: ImageDraw.ImageDraw, pose: Pose, radius_px: float) -> None:
    width = max(1, round(radius_px / 2))
    for x, y in pose.keypoints_px[pose.held & (pose.visibility != ABSENT)].tolist():
        # a dark edge on both sides keeps it apart from a white shirt
        canvas.ellipse(_circle(x, y, 2 * radius_px + 1), outline=EDGE, width=width + 2)
        canvas.ellipse(_circle(x, y, 2 * radius_px), outline=RING, width=width)


def _circle(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _color(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def click_curve(metrics: Mapping[str, Metrics]) -> Figure:
    """Plot AP over clicks per person: name of a model or strategy -> what ``evaluate`` returned for it.

    A line each, dotted with the scores of the first pass, and dashed by hand, where those differ.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(metrics.items()):
        drawn: list[dict[int, float]] = []
        for suffix, style, label in CURVES:
            numbers = _numbers(values, rf"AP@C(\d+){suffix}")
            if numbers and numbers not in drawn:
                drawn.append(numbers)
                xy = list(numbers), list(numbers.values())
                axes.plot(*xy, style, color=f"C{index}", marker="o", markersize=4, label=name + label)
    axes.set(xlabel="clicks on each person", ylabel="keypoint AP")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=8, handlelength=3.5, loc="outside right upper", title="solid: scores of the round"
    )
    return figure


def click_bars(metrics: Mapping[str, Metrics]) -> Figure:
    """Plot the published NoC and, apart from it, clicks per person, with each model and, paler, by hand.

    Args:
        metrics: name of a model or strategy -> what ``evaluate`` returned for it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    published, per_person = figure.subplots(1, 2)
    _plot_bars(published, metrics, r"NoC@(\d+)", r"NoC@(\d+)/by_hand")
    published.set(title="published NoC", xlabel="AP of an image", ylabel="rounds per image")
    _plot_bars(per_person, metrics, r"clicks@(\d+)", r"manual_clicks@(\d+)")
    per_person.set(title="clicks per person", xlabel="OKS of a person", ylabel="clicks per person")
    handles, labels = max((published, per_person), key=lambda axes: len(axes.patches)).get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def _plot_bars(axes: Axes, metrics: Mapping[str, Metrics], pattern: str, by_hand: str) -> None:
    groups: list[tuple[str, dict[int, float], tuple[str, float]]] = []
    for index, (name, values) in enumerate(metrics.items()):
        answered, manual = _numbers(values, pattern), _numbers(values, by_hand)
        if answered:
            groups.append((name, answered, (f"C{index}", 1.0)))
        if manual and manual != answered:
            groups.append((f"{name}, by hand", manual, (f"C{index}", 0.4)))
    goals = sorted({goal for _, numbers, _ in groups for goal in numbers})
    width = 0.8 / max(1, len(groups))
    for index, (label, numbers, color) in enumerate(groups):
        left = np.arange(len(goals)) + (index - (len(groups) - 1) / 2) * width
        bars = axes.bar(left, [numbers.get(goal, np.nan) for goal in goals], width, label=label, color=color)
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_xticks(range(len(goals)), [f".{goal}" for goal in goals])


def time_bars(seconds: Mapping[str, tuple[float, float]]) -> Figure:
    """Plot seconds per person by name: mean and standard deviation (figure 2 of the paper)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 + 1.2 * len(seconds), 4.5), layout="constrained")
    axes = figure.subplots()
    means, deviations = zip(*seconds.values(), strict=True)
    bars = axes.bar(list(seconds), means, 0.6, yerr=deviations, capsize=4)
    axes.bar_label(bars, fmt="%.1f", label_type="center", color="white")
    axes.tick_params(axis="x", rotation=20)
    axes.set(ylabel="seconds per person")
    axes.set_ylim(bottom=0)
    return figure


def sensitivity_curve(levels: Sequence[Sensitivity]) -> Figure:
    """Plot the AP of disturbed persons over the noise, as given and as the pose layers answer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes, noise = figure.subplots(), [level.noise for level in levels]
    axes.plot(noise, [level.answered_ap for level in levels], "o-", label="after one round of the pose layers")
    axes.plot(noise, [level.given_ap for level in levels], "o--", label="as given")
    axes.set(xlabel="largest move of a true keypoint, in halves of the person's box", ylabel="keypoint AP")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def reliability_plot(by_name: Mapping[str, Sequence[Bin]]) -> Figure:
    """Plot, for each data set, the share of keypoints within tolerance over the score; the diagonal is perfect.

    A dot's area grows with the number of keypoints it stands for.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="grey", linewidth=1)
    for name, bins in by_name.items():
        xy = [b.chance for b in bins], [b.right for b in bins]
        (line,) = axes.plot(*xy, label=name)
        axes.scatter(*xy, [600 * b.share for b in bins], color=line.get_color(), alpha=0.6)
    axes.set(xlabel="score of a keypoint", ylabel="share within tolerance", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _numbers(metrics: Metrics, pattern: str) -> dict[int, float]:
    """Collect the metrics whose whole name matches, by the number in it."""
    found = ((re.fullmatch(pattern, name), value) for name, value in metrics.items())
    return {int(match[1]): value for match, value in found if match and value is not None}
