"""Images augmented as published: mirrored, resized, and half of them cropped before (section 7.5 of the method)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clickpose.annotations import PersonAnnotation
from clickpose.errors import InvalidConfig
from clickpose.model.config import ModelConfig
from clickpose.model.inputs import MIN_SIDE_PX, input_size
from clickpose.skeleton import Skeleton
from clickpose.training.augment import Sample, TrainingImages

NO_LIMIT = sys.maxsize


@dataclass(frozen=True)
class CropConfig:
    """The augmentation of single images; the defaults are the published ones.

    Attributes:
        short_sides_px: one of these becomes the shorter side of the input.
        long_side_px: limit on the longer side.
        crop: probability of a crop before that.
        crop_from_px: one of these becomes the shorter side of an image to be cropped, without a limit on the other.
        crop_sides_px: range of the width and of the height of a crop, within the image.
        flip: probability of mirroring.
    """

    short_sides_px: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    long_side_px: int = 1333
    crop: float = 0.5
    crop_from_px: tuple[int, ...] = (400, 500, 600)
    crop_sides_px: tuple[int, int] = (384, 600)
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("crop", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be a probability")
        for name in ("short_sides_px", "crop_from_px", "crop_sides_px"):
            if min(getattr(self, name), default=0) < MIN_SIDE_PX:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be sides of {MIN_SIDE_PX} pixels or more")
        if self.long_side_px < MIN_SIDE_PX:
            raise InvalidConfig(f"long_side_px is {self.long_side_px}, must be {MIN_SIDE_PX} or more")
        if not self.crop_sides_px[0] <= min(*self.crop_sides_px, *self.crop_from_px):
            raise InvalidConfig(f"crop_sides_px {self.crop_sides_px} must ascend, from at most those of crop_from_px")

    def fit_to(self, model: ModelConfig) -> CropConfig:
        """Return itself: sizes are the published ones for any network."""
        return self

    def draw_batch(self, wanted: Sequence[int], images: TrainingImages, rng: np.random.Generator) -> list[Sample]:
        """Augment each image wanted; their sizes differ."""
        return [self._vary(images[i], images.skeleton, rng) for i in wanted]

    def _vary(self, sample: Sample, skeleton: Skeleton, rng: np.random.Generator) -> Sample:
        if rng.random() < self.flip and skeleton.can_mirror:
            sample = mirror(sample, skeleton)
        if rng.random() < self.crop:
            side = int(rng.choice(self.crop_from_px))
            sample = resize(sample, input_size(sample.image.size, side, NO_LIMIT))
            sample = crop(sample, draw_window(sample.image.size, self.crop_sides_px, rng))
        side = int(rng.choice(self.short_sides_px))
        return resize(sample, input_size(sample.image.size, side, self.long_side_px))


def mirror(sample: Sample, skeleton: Skeleton) -> Sample:
    """Swap left and right, in the image and in the names of keypoints.

    A keypoint is a column of pixels, 0..w - 1, and a box lies between columns: x of a keypoint becomes w - 1 - x, as
    published, and that of a box w - x.
    """
    width, order = sample.image.width, skeleton.flip_permutation

    def mirrored(person: PersonAnnotation) -> PersonAnnotation:
        left, top, right, bottom = person.box_px
        named = replace(person, visibility=person.visibility[order])
        keypoints_px = person.keypoints_px[order] * (-1, 1) + (width - 1, 0)
        return _move(named, keypoints_px, np.array([width - right, top, width - left, bottom]))

    image = sample.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Sample(image, tuple(mirrored(person) for person in sample.persons))


def resize(sample: Sample, size_wh: tuple[int, int]) -> Sample:
    """Scale an image and its persons to another width and height."""
    scale = np.array(size_wh) / sample.image.size

    def resized(person: PersonAnnotation) -> PersonAnnotation:
        moved = _move(person, person.keypoints_px * scale, person.box_px * np.tile(scale, 2))
        return replace(moved, area_px=person.area_px * float(scale.prod()))

    image = sample.image.resize(size_wh, Image.Resampling.BILINEAR)
    return Sample(image, tuple(resized(person) for person in sample.persons))


def crop(sample: Sample, window: tuple[int, int, int, int]) -> Sample:
    """Cut out a window: left, top, right, bottom.

    Boxes are clipped to it, persons whose box lies outside are dropped, and the area of the others becomes that of
    their clipped box. Keypoints outside move to the nearest edge and, as published, keep their visibility.
    """
    corner, size = np.array(window[:2]), np.array(window[2:]) - window[:2]
    persons = []
    for person in sample.persons:
        box_px = np.clip(person.box_px - np.tile(corner, 2), 0, np.tile(size, 2))
        width, height = box_px[2:] - box_px[:2]
        if width > 0 and height > 0:
            moved = _move(person, np.clip(person.keypoints_px - corner, 0, size), box_px)
            persons.append(replace(moved, area_px=float(width * height)))
    return Sample(sample.image.crop(window), tuple(persons))


def draw_window(
    size_wh: tuple[int, int], sides_px: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a window of an image: width and height from a range, then its place; left, top, right, bottom."""
    least, most = sides_px
    width, height = (int(rng.integers(least, min(side, most) + 1)) for side in size_wh)
    left, top = (int(rng.integers(side - part + 1)) for side, part in zip(size_wh, (width, height), strict=True))
    return left, top, left + width, top + height


def _move(person: PersonAnnotation, keypoints_px: NDArray[Any], box_px: NDArray[Any]) -> PersonAnnotation:
    """Move a person; unlabelled keypoints stay at (0, 0)."""
    labelled_px = np.where(person.visibility[:, None] > 0, keypoints_px, 0)
    return replace(person, keypoints_px=labelled_px.astype(np.float32), box_px=box_px.astype(np.float32))
