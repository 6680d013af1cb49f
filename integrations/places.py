"""Places that can hardly be meant: shares of the image instead of pixels, and points that have a label but no place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clickpose.annotations import AnnotatedImage, Floats
from clickpose.errors import InvalidAnnotation
from integrations.persons import EDGE_PX

MIN_SHARES = 10  # fewer points might lie in the first pixel by chance

logger = logging.getLogger(__name__)


def check_places(images: Sequence[AnnotatedImage], path: str | Path) -> None:
    """Look at the labelled keypoints of a file; log how many lie at (0, 0) or outside their image.

    Raises:
        InvalidAnnotation: all are between 0 and 1.
    """
    places = [(_labelled(image), image.size_wh) for image in images]
    num_labelled = sum(len(points) for points, _ in places)
    if num_labelled >= MIN_SHARES and all(map(_are_shares, (points for points, _ in places))):
        raise InvalidAnnotation(f"{path}: all keypoints are between 0 and 1: write them in pixels, not as shares")
    if odd := sum(int(_is_odd(points, size_wh).sum()) for points, size_wh in places):
        logger.warning(
            "%s: %d of %d labelled keypoints lie at (0, 0) or outside their image: if they have no place, give them"
            " visibility 0",
            path,
            odd,
            num_labelled,
        )


def _labelled(image: AnnotatedImage) -> Floats:
    """Return the labelled keypoints of all persons of an image, ``(N, 2)``."""
    persons = [person.keypoints_px[person.visibility > 0] for person in image.persons]
    return np.concatenate([np.zeros((0, 2), np.float32), *persons])


def _are_shares(points: Floats) -> bool:
    return bool(((points >= 0) & (points <= 1)).all() and (points % 1 > 0).any(-1).all())


def _is_odd(points_px: Floats, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    outside = (points_px < -EDGE_PX) | (points_px > np.add(size_wh, EDGE_PX))
    return np.asarray(outside.any(-1) | (points_px == 0).all(-1))
