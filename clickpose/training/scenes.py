"""Scenes: several annotated images turned, scaled, coloured and pasted into one, for small models and little data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from clickpose.annotations import PersonAnnotation
from clickpose.errors import InvalidConfig
from clickpose.model.config import ModelConfig
from clickpose.model.inputs import MIN_SIDE_PX
from clickpose.skeleton import Skeleton
from clickpose.training.augment import Sample, TrainingImages

MARGIN_OF_CORNERS = 3  # with fewer keypoints left, a box is moved by its corners instead


@dataclass(frozen=True)
class SceneConfig:
    """The augmentation by scenes.

    Attributes:
        canvas_sizes_px: (width, height) of scenes; all images of a batch share one, so nothing is padded. None for a
            square of the network's shorter side, and the same a sixth wider and lower, or higher and narrower.
        max_pictures: up to this many images are pasted into the cells of one scene; n of 1, 2, 4 with P(n) ~ 1/n.
        scale: range of an image's size relative to fitting its cell.
        rotation_deg: largest rotation in either direction.
        shift: largest move, in fractions of the cell.
        flip: probability of mirroring.
        colour: strength of brightness, contrast and saturation changes.
    """

    canvas_sizes_px: tuple[tuple[int, int], ...] | None = None
    max_pictures: int = 4
    scale: tuple[float, float] = (0.75, 1.35)
    rotation_deg: float = 20.0
    shift: float = 0.1
    flip: float = 0.5
    colour: float = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_pictures not in (1, 2, 4):
            raise InvalidConfig(f"max_pictures is {self.max_pictures}, must be 1, 2 or 4")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InvalidConfig(f"scale {self.scale} must be an ascending pair of positive numbers")
        if not 0 <= self.flip <= 1:
            raise InvalidConfig(f"flip is {self.flip}, must be a probability")
        sizes_px = self.canvas_sizes_px
        if sizes_px is not None and min(map(min, sizes_px), default=0) < MIN_SIDE_PX:
            raise InvalidConfig(f"canvas_sizes_px {self.canvas_sizes_px} must be pairs of {MIN_SIDE_PX} pixels or more")

    def fit_to(self, model: ModelConfig) -> SceneConfig:
        """Set the sizes of scenes to the network's input size, unless they are given."""
        if self.canvas_sizes_px is not None:
            return self
        less, side, more = (round(model.short_side_px * part) for part in (5 / 6, 1, 7 / 6))
        return replace(self, canvas_sizes_px=((side, side), (less, more), (more, less)))

    def draw_batch(self, wanted: Sequence[int], images: TrainingImages, rng: np.random.Generator) -> list[Sample]:
        """Compose a scene around each image wanted, all of one size."""
        assert self.canvas_sizes_px is not None, "fit_to comes first"
        size_wh = self.canvas_sizes_px[rng.integers(len(self.canvas_sizes_px))]
        return [compose_scene(self._gather(i, images, rng), size_wh, images.skeleton, self, rng) for i in wanted]

    def _gather(self, first: int, images: TrainingImages, rng: np.random.Generator) -> list[Sample]:
        """Open an image and others, drawn at random, for the same scene."""
        counts = np.array([n for n in (1, 2, 4) if n <= self.max_pictures])
        count = int(rng.choice(counts, p=1 / counts / (1 / counts).sum()))
        others = rng.integers(len(images), size=count - 1)
        return [images[i] for i in (first, *others)]


def compose_scene(
    samples: Sequence[Sample],
    size_wh: tuple[int, int],
    skeleton: Skeleton,
    config: SceneConfig,
    rng: np.random.Generator,
) -> Sample:
    """Paste 1, 2 or 4 images into the cells of one canvas, each turned, scaled, mirrored and coloured at random.

    Keypoints that leave their cell lose their label, persons without any left are dropped.
    """
    canvas = Image.new("RGB", size_wh, tuple(int(c) for c in rng.integers(0, 256, 3)))
    persons: list[PersonAnnotation] = []
    for sample, (left, top, right, bottom) in zip(samples, _cells(len(samples), size_wh, rng), strict=True):
        cell_wh = (right - left, bottom - top)
        matrix, mirrored = _draw_transform(sample.image.size, cell_wh, config, rng, skeleton.can_mirror)
        canvas.paste(_colour(_warp(sample.image, matrix, cell_wh), config.colour, rng), (left, top))
        moved = [move_person(person, matrix, cell_wh, skeleton if mirrored else None) for person in sample.persons]
        persons += [_shift(person, left, top) for person in moved if person is not None]
    return Sample(canvas, tuple(persons))


def move_person(
    person: PersonAnnotation, matrix: NDArray[np.float64], cell_wh: tuple[int, int], mirrored: Skeleton | None
) -> PersonAnnotation | None:
    """Move a person by the affine ``matrix (2, 3)``; None if no keypoint stays in the cell.

    Args:
        person: in pixels of its image.
        matrix: takes x, y, 1 of the image to x, y of the cell.
        cell_wh: size of the cell in pixels.
        mirrored: the skeleton whose left and right are swapped, if the matrix mirrors.
    """
    keypoints, visibility = _apply(matrix, person.keypoints_px), person.visibility
    if mirrored is not None:
        keypoints, visibility = keypoints[mirrored.flip_permutation], visibility[mirrored.flip_permutation]
    inside = ((keypoints >= 0) & (keypoints < cell_wh)).all(-1)
    visibility = np.where(inside, visibility, 0)
    if not (visibility > 0).any() and not person.is_crowd:
        return None
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    box_px = np.clip(_move_box(person, matrix, scale), 0, np.tile(cell_wh, 2)).astype(np.float32)
    labelled_px = np.where(visibility[:, None] > 0, keypoints, 0).astype(np.float32)
    return PersonAnnotation(person.id, labelled_px, visibility, box_px, person.area_px * scale**2, person.is_crowd)


def _move_box(person: PersonAnnotation, matrix: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Move a box with its keypoints and their mean margin, which stays tight when turned; else with its corners."""
    labelled = person.keypoints_px[person.visibility > 0]
    x0, y0, x1, y1 = person.box_px
    if len(labelled) < MARGIN_OF_CORNERS:
        corners = _apply(matrix, np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
        return np.concatenate((corners.min(0), corners.max(0)))
    margin = np.mean(np.concatenate((labelled.min(0) - (x0, y0), (x1, y1) - labelled.max(0)))) * scale
    moved = _apply(matrix, labelled)
    return np.concatenate((moved.min(0) - margin, moved.max(0) + margin))


def _draw_transform(
    size_wh: tuple[int, int], cell_wh: tuple[int, int], config: SceneConfig, rng: np.random.Generator, can_mirror: bool
) -> tuple[NDArray[np.float64], bool]:
    """Draw an affine matrix (2, 3) that puts an image into a cell, and whether it mirrors."""
    fit = min(cell_wh[0] / size_wh[0], cell_wh[1] / size_wh[1])
    scale = fit * math.exp(rng.uniform(math.log(config.scale[0]), math.log(config.scale[1])))
    angle = math.radians(rng.uniform(-config.rotation_deg, config.rotation_deg))
    mirrored = bool(rng.random() < config.flip) and can_mirror
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    centre = np.array(cell_wh) * (0.5 + rng.uniform(-config.shift, config.shift, 2))
    return np.column_stack((linear, centre - linear @ (np.array(size_wh) / 2))), mirrored


def _warp(image: Image.Image, matrix: NDArray[np.float64], cell_wh: tuple[int, int]) -> Image.Image:
    shrink = int(1 / max(math.sqrt(abs(np.linalg.det(matrix[:, :2]))), 1e-3))
    if shrink > 1:  # bilinear sampling alone would skip pixels
        image, matrix = image.reduce(shrink), matrix * [shrink, shrink, 1]
    linear = np.linalg.inv(matrix[:, :2])
    inverse = np.column_stack((linear, -linear @ matrix[:, 2]))
    return image.transform(cell_wh, Image.Transform.AFFINE, tuple(inverse.flatten()), Image.Resampling.BILINEAR)


def _colour(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(1 + rng.uniform(-strength, strength))
    return image


def _cells(count: int, size_wh: tuple[int, int], rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """Cut a canvas at random places into 1, 2 or 4 cells: left, top, right, bottom."""
    width, height = size_wh
    x, y = (int(side * rng.uniform(0.4, 0.6)) for side in size_wh)
    if count == 1:
        return [(0, 0, width, height)]
    if count == 2:
        if width >= height:
            return [(0, 0, x, height), (x, 0, width, height)]
        return [(0, 0, width, y), (0, y, width, height)]
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


def _shift(person: PersonAnnotation, left: int, top: int) -> PersonAnnotation:
    moved = person.keypoints_px + np.where(person.visibility[:, None] > 0, (left, top), 0).astype(np.float32)
    box_px = person.box_px + np.array([left, top, left, top], np.float32)
    return PersonAnnotation(person.id, moved, person.visibility, box_px, person.area_px, person.is_crowd)


def _apply(matrix: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]
