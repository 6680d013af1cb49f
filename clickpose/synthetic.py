"""Drawn people with exact labels: unlimited, without licences, reproducible by seed.

Each person faces the viewer (the person's left is at the image's right), with limbs coloured by side, in front of
a textured background, partly behind other persons and bars. Any skeleton works: keypoints the figure knows by name
(those of COCO, CrowdPose and Human-Art, and the feet of COCO-WholeBody) are labelled, the others are not.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clickpose.annotations import ABSENT, OCCLUDED, VISIBLE, AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.skeleton import Skeleton

Point = NDArray[np.float64]
Color = tuple[int, int, int]
Mask = NDArray[np.bool_]

SIDES = (("left", 1.0), ("right", -1.0))
HEAD_RADIUS = 0.075  # in body heights, as are all widths and lengths below
# (from, to, width, hue in [0, 1)), in the order they are drawn
TRUNK = (
    ("left_shoulder", "left_hip", 0.09, 0.55),
    ("right_shoulder", "right_hip", 0.09, 0.55),
    ("neck", "middle", 0.14, 0.55),
    ("neck", "nose", 0.05, 0.08),
)
LIMBS = (
    ("hip", "knee", 0.075, 0.00),
    ("knee", "ankle", 0.06, 0.06),
    ("heel", "toe", 0.045, 0.12),
    ("shoulder", "elbow", 0.055, 0.18),
    ("elbow", "wrist", 0.045, 0.24),
    ("wrist", "finger", 0.04, 0.30),
)
RIGHT_HUE_SHIFT = 0.6


@dataclass(frozen=True)
class Stroke:
    """A line with round ends: every shape of a figure; a dot where it starts and ends at one point."""

    start_px: Point
    end_px: Point
    width_px: float
    color: Color

    def draw(self, canvas: ImageDraw.ImageDraw, fill: Color | int) -> None:
        """Draw it in some colour."""
        radius = max(self.width_px / 2, 0.75)
        canvas.line([*self.start_px, *self.end_px], fill=fill, width=round(2 * radius))
        for x, y in (self.start_px, self.end_px):
            canvas.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


@dataclass(frozen=True)
class DrawnPeople:
    """A data set of drawn people.

    Attributes:
        skeleton: the schema of the labels.
        num_images: how many images; their ids are 1 ... ``num_images``.
        size_wh: of every image, in pixels.
        max_persons: each image shows 1 ... ``max_persons``.
        seed: the same seed draws the same images.
    """

    skeleton: Skeleton
    num_images: int = 8
    size_wh: tuple[int, int] = (320, 240)
    max_persons: int = 3
    seed: int = 0

    @cached_property
    def annotations(self) -> AnnotationSet:
        """The labels of every image."""
        return AnnotationSet(self.skeleton, tuple(self.draw(id)[1] for id in range(1, self.num_images + 1)))

    def load_image(self, image: AnnotatedImage) -> Image.Image:
        """Draw the image of a record again."""
        return self.draw(image.id)[0]

    def draw(self, id: int) -> tuple[Image.Image, AnnotatedImage]:
        """Draw image number ``id`` and its labels."""
        num_persons = 1 + (id - 1) % self.max_persons
        return draw_people(self.skeleton, size_wh=self.size_wh, num_persons=num_persons, seed=self.seed, id=id)


def draw_people(
    skeleton: Skeleton,
    *,
    size_wh: tuple[int, int] = (320, 240),
    num_persons: int = 2,
    seed: int = 0,
    id: int = 1,
) -> tuple[Image.Image, AnnotatedImage]:
    """Draw one image of ``num_persons`` people and return it with its exact labels.

    A keypoint behind another person or a bar is occluded (1), one outside the image is not labelled (0).
    A person's box and area are those of the whole silhouette, hidden parts included.
    """
    rng = np.random.default_rng([seed, id])
    image = _background(rng, size_wh)
    figures = [_place_figure(rng, size_wh, index, num_persons) for index in range(num_persons)]
    silhouettes = [_paint(image, figure, rng) for figure in figures]
    owner = np.full((size_wh[1], size_wh[0]), -1)  # whose silhouette is in front, person by person
    for index, silhouette in enumerate(silhouettes):
        owner[silhouette] = index
    owner[_paint_bars(image, rng)] = -1
    persons = tuple(
        _annotate(100 * id + index, skeleton, figure.joints_px, silhouette, owner == index)
        for index, (figure, silhouette) in enumerate(zip(figures, silhouettes, strict=True))
    )
    return image, AnnotatedImage(id, f"drawn_{seed}_{id:06d}.png", size_wh, persons)


def _joints(rng: np.random.Generator) -> dict[str, Point]:
    """Joints of a person of height 1 around the middle of the hips at (0, 0), y down."""
    lean = rng.normal(0, 0.12)
    neck = 0.29 * _direction(np.pi + lean)
    head = neck + 0.11 * _direction(np.pi + lean + rng.normal(0, 0.15))
    top = head + 0.9 * HEAD_RADIUS * _direction(np.pi + lean)
    joints = {"middle": np.zeros(2), "neck": neck, "skull": head, "head": top, "nose": np.add(head, (0, 0.01))}
    for side, sign in SIDES:
        across = sign * _direction(np.pi / 2 + lean)
        joints |= {f"{side}_{name}": point for name, point in _arm(rng, neck, across, sign).items()}
        joints |= {f"{side}_{name}": point for name, point in _leg(rng, across, sign).items()}
        joints[f"{side}_eye"] = np.add(head + 0.03 * across, (0, -0.015))
        joints[f"{side}_ear"] = head + 0.9 * HEAD_RADIUS * across
    return joints


def _arm(rng: np.random.Generator, neck: Point, across: Point, sign: float) -> dict[str, Point]:
    upper = sign * rng.uniform(-0.2, 2.6)
    fore = upper + sign * rng.uniform(-0.3, 1.8)
    shoulder = neck + 0.11 * across
    elbow = shoulder + 0.16 * _direction(upper)
    wrist = elbow + 0.14 * _direction(fore)
    return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "finger": wrist + 0.06 * _direction(fore)}


def _leg(rng: np.random.Generator, across: Point, sign: float) -> dict[str, Point]:
    thigh = sign * rng.uniform(-0.1, 0.9)
    shin = thigh - sign * rng.uniform(-0.1, 0.8)
    hip = 0.075 * across
    knee = hip + 0.23 * _direction(thigh)
    ankle = knee + 0.21 * _direction(shin)
    heel, toe, small_toe = (np.add(ankle, (sign * x, y)) for x, y in ((-0.01, 0.02), (0.06, 0.03), (0.055, 0.015)))
    leg = {"hip": hip, "knee": knee, "ankle": ankle}
    return leg | {"heel": heel, "toe": toe, "big_toe": toe, "small_toe": small_toe}


def _direction(angle: float) -> Point:
    """Unit vector at ``angle`` radians from straight down towards the image's right."""
    return np.array([np.sin(angle), np.cos(angle)])


@dataclass(frozen=True)
class Figure:
    """A person in the image: joints by name, and body height, in pixels."""

    joints_px: dict[str, Point]
    height_px: float

    def strokes(self, light: float) -> Iterator[Stroke]:
        """Yield the strokes that draw the person, back to front; ``light`` in [0, 1] scales the colours."""
        for start, end, width, hue in TRUNK:
            yield self._stroke(start, end, width, _color(hue, light))
        yield self._stroke("skull", "skull", 2 * HEAD_RADIUS, _color(0.08, light))
        for side, sign in SIDES:
            shift = RIGHT_HUE_SHIFT * (sign < 0)
            for start, end, width, hue in LIMBS:
                yield self._stroke(f"{side}_{start}", f"{side}_{end}", width, _color(hue + shift, light))
            yield self._stroke(f"{side}_eye", f"{side}_eye", 0.02, _color(0.0 + shift, 0.25))
            yield self._stroke(f"{side}_ear", f"{side}_ear", 0.03, _color(0.0 + shift, 0.6))
        yield self._stroke("nose", "nose", 0.02, _color(0.0, 0.4))

    def _stroke(self, start: str, end: str, width: float, color: Color) -> Stroke:
        return Stroke(self.joints_px[start], self.joints_px[end], width * self.height_px, color)


def _place_figure(rng: np.random.Generator, size_wh: tuple[int, int], index: int, num_persons: int) -> Figure:
    """Make a figure and put it into its part of the image, counted from the left."""
    width, height = size_wh
    height_px = rng.uniform(0.6, 0.9) * height
    hips_px = np.array([width * (index + rng.uniform(0.3, 0.7)) / num_persons, height * rng.uniform(0.45, 0.6)])
    return Figure({name: hips_px + height_px * point for name, point in _joints(rng).items()}, height_px)


def _paint(image: Image.Image, figure: Figure, rng: np.random.Generator) -> Mask:
    """Paint one person; return the ``(H, W)`` silhouette."""
    silhouette = Image.new("L", image.size)
    on_image, on_silhouette = ImageDraw.Draw(image), ImageDraw.Draw(silhouette)
    for stroke in figure.strokes(light=rng.uniform(0.65, 1.0)):
        stroke.draw(on_image, stroke.color)
        stroke.draw(on_silhouette, 255)
    return np.asarray(silhouette) > 0


def _paint_bars(image: Image.Image, rng: np.random.Generator) -> Mask:
    """Paint up to two grey bars over everything; return the ``(H, W)`` pixels they cover."""
    bars = Image.new("L", image.size)
    on_image, on_bars = ImageDraw.Draw(image), ImageDraw.Draw(bars)
    for _ in range(rng.integers(0, 3)):
        (x, y), thickness = rng.uniform((0, 0), image.size), rng.uniform(0.02, 0.06) * image.height
        grey, tilt = int(rng.integers(60, 200)), rng.uniform(-0.3, 0.3)
        ends = (x - 0.3 * image.width, y - tilt * image.width, x + 0.3 * image.width, y + tilt * image.width)
        on_image.line(ends, fill=(grey, grey, grey), width=round(thickness))
        on_bars.line(ends, fill=255, width=round(thickness))
    return np.asarray(bars) > 0


def _background(rng: np.random.Generator, size_wh: tuple[int, int]) -> Image.Image:
    """Soft blobs of muted colour with grain."""
    blobs = Image.fromarray(rng.integers(50, 180, (6, 8, 3), dtype=np.uint8)).resize(size_wh, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 12, (size_wh[1], size_wh[0], 1))
    return Image.fromarray((np.asarray(blobs) + grain).clip(0, 255).astype(np.uint8))


def _annotate(
    id: int, skeleton: Skeleton, joints_px: dict[str, Point], silhouette: Mask, in_front: Mask
) -> PersonAnnotation:
    height, width = silhouette.shape
    keypoints_px = np.zeros((len(skeleton), 2), np.float32)
    visibility = np.full(len(skeleton), ABSENT)
    for index, name in enumerate(skeleton.keypoints):
        x, y = joints_px.get(name, (-1.0, -1.0))
        if 0 <= x < width and 0 <= y < height:
            keypoints_px[index] = x, y
            visibility[index] = VISIBLE if in_front[int(y), int(x)] else OCCLUDED
    rows, columns = np.nonzero(silhouette)
    box_px = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
    return PersonAnnotation(id, keypoints_px, visibility, box_px, area_px=float(silhouette.sum()))


def _color(hue: float, light: float) -> Color:
    red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(hue % 1.0, 0.75, light))
    return red, green, blue
