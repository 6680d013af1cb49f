"""A person's own frame: a square around the person, in which coordinates run from 0 to 1.

The published model measures places in fractions of the whole image, where a small person's keypoints lie within a few
thousandths of each other. In the person's frame all persons have the same size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from clickpose.annotations import Floats

MARGIN = 1.25  # side of the frame, in longer sides of the person's box
MIN_SIDE_PX = 4.0
MAX_PART_PX = 100_000_000
MAX_SHRINK = 1.4  # pixels of the image per pixel of the crop, beyond which pixels would be skipped

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A square in an image, perhaps turned.

    Attributes:
        centre_px: x, y of its centre, where whole numbers are edges of pixels.
        side_px: length of its side.
        turn: angle in radians, from x towards y, that it is turned by.
    """

    centre_px: tuple[float, float]
    side_px: float
    turn: float = 0.0

    @classmethod
    def around(cls, box_px: ArrayLike, margin: float = MARGIN) -> Frame:
        """Return the upright frame around a person's box x0, y0, x1, y1."""
        x0, y0, x1, y1 = np.asarray(box_px, np.float64)
        return cls(((x0 + x1) / 2, (y0 + y1) / 2), margin * max(x1 - x0, y1 - y0, MIN_SIDE_PX))

    def scaled(self, factor: float) -> Frame:
        """Return the same frame in an image whose pixels are ``factor`` times as many per side."""
        x, y = self.centre_px
        return Frame((x * factor, y * factor), self.side_px * factor, self.turn)

    @cached_property
    def _axes(self) -> Doubles:
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        return np.array([[cos, -sin], [sin, cos]]) * self.side_px

    @cached_property
    def _origin(self) -> Doubles:
        origin: Doubles = np.asarray(self.centre_px, np.float64) - self._axes @ [0.5, 0.5]
        return origin

    def to_frame(self, points_px: ArrayLike) -> Doubles:
        """Carry keypoints ``(..., 2)`` in pixels over; a keypoint at a whole number is in the middle of its pixel."""
        from_origin: Doubles = np.asarray(points_px, np.float64) + 0.5 - self._origin
        return from_origin @ np.linalg.inv(self._axes).T

    def to_px(self, points: ArrayLike) -> Doubles:
        """Carry points ``(..., 2)`` of the frame back to pixels; the inverse of ``to_frame``."""
        points_px: Doubles = np.asarray(points, np.float64) @ self._axes.T + self._origin - 0.5
        return points_px

    def box_to_frame(self, box_px: ArrayLike) -> Doubles:
        """Carry a box x0, y0, x1, y1 in pixels over to ``cxcywh``; its sides keep their directions."""
        corners = np.asarray(box_px, np.float64).reshape(2, 2) - 0.5  # edges, not middles of pixels
        return np.concatenate((self.to_frame(corners.mean(0)), (corners[1] - corners[0]) / self.side_px))

    def shows(self, points_px: ArrayLike, border: float = 0.01) -> bool:
        """Tell whether all points lie in the frame, away from its border by a share of its side."""
        points = self.to_frame(points_px)
        return bool(((points > border) & (points < 1 - border)).all())

    def cut(self, image: Image.Image, size: int) -> Image.Image:
        """Cut the frame out of an RGB image, scaled to ``size`` x ``size`` pixels; black outside the image."""
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ self._axes.T + self._origin
        left, top = np.floor(corners.min(0)).astype(int) - 2
        right, bottom = np.ceil(corners.max(0)).astype(int) + 2
        if (right - left) * (bottom - top) > MAX_PART_PX:  # most of it lies outside the image
            left, top = np.clip((left, top), -2, image.size)
            right, bottom = np.clip((right, bottom), (left + 1, top + 1), np.add(image.size, 2))
        part = image.crop((int(left), int(top), int(right), int(bottom)))
        axes, origin = self._axes, self._origin - (left, top)
        if self.side_px / size > MAX_SHRINK:
            width, height = (max(1, round(side * size / self.side_px)) for side in part.size)
            scale = np.diag([width / part.width, height / part.height])
            part, axes, origin = part.resize((width, height), Image.Resampling.BILINEAR), scale @ axes, scale @ origin
        step = axes / size
        back = (step[0, 0], step[0, 1], origin[0], step[1, 0], step[1, 1], origin[1])
        return part.transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)


def enclose(box_px: Floats, points_px: Floats) -> Floats:
    """Extend a box x0, y0, x1, y1 to contain points ``(M, 2)``."""
    corners: Sequence[Floats] = (np.minimum(box_px[:2], points_px.min(0)), np.maximum(box_px[2:], points_px.max(0)))
    return np.concatenate(corners)
