"""Records that fit their images: some tools ignore EXIF, and some images were resized after annotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from clickpose.annotations import AnnotatedImage, Floats, PersonAnnotation
from clickpose.errors import ImageError
from clickpose.images.findings import Findings

ORIENTATION, NAME = "orientation", "name"  # keys of an image's ``info``: how it was turned, and its name
QUARTER_TURNS = (6, 8)  # clockwise and back


def fit_record(record: AnnotatedImage, image: Image.Image) -> AnnotatedImage:
    """Return a record whose size and places are those of the upright image.

    A record of another size with the same aspect ratio is scaled. One with the size of the image before it was turned
    upright by 90 degrees is turned.

    Raises:
        ImageError: neither explains the difference.
    """
    if record.size_wh == image.size:
        return record
    if _same_aspect(record.size_wh, image.size):
        return _scaled(record, image.size)
    width, height = image.size
    orientation = image.info.get(ORIENTATION)
    if orientation in QUARTER_TURNS and _same_aspect(record.size_wh, (height, width)):
        return _scaled(_turned(record, clockwise=orientation == QUARTER_TURNS[0]), image.size)
    name, (told, found) = image.info.get(NAME, record.file_name), _sizes(record.size_wh, image.size)
    raise ImageError(
        f"{name} has {found} pixels, and its record says {told}: annotate this image, or use the one that was annotated"
    )


def open_fitted(
    record: AnnotatedImage, load_image: Callable[[AnnotatedImage], Image.Image], findings: Findings
) -> tuple[Image.Image, AnnotatedImage]:
    """Open the image of a record and make the record fit it; changes are logged.

    Raises:
        ImageError: it cannot be opened, or is another image than the one that was annotated.
    """
    image = load_image(record)
    fitted = fit_record(record, image)
    if fitted.size_wh != record.size_wh:
        name, (old, new) = image.info.get(NAME, record.file_name), _sizes(record.size_wh, fitted.size_wh)
        how = "scaled" if _same_aspect(record.size_wh, fitted.size_wh) else "turned upright, as its EXIF says,"
        findings.tell(f"{name} has another size than its record, {old}: annotations {how} to {new}")
    return image, fitted


def _sizes(*sizes_wh: tuple[int, int]) -> list[str]:
    return [f"{width} x {height}" for width, height in sizes_wh]


def _same_aspect(record_wh: tuple[int, int], image_wh: tuple[int, int]) -> bool:
    """Tell whether one size is the other scaled, up to rounding to whole pixels."""
    scale = image_wh[0] / record_wh[0]
    return abs(record_wh[1] * scale - image_wh[1]) <= max(1.0, scale)


def _scaled(record: AnnotatedImage, size_wh: tuple[int, int]) -> AnnotatedImage:
    scale = (np.array(size_wh) / record.size_wh).astype(np.float32)

    def scaled(person: PersonAnnotation) -> PersonAnnotation:
        moved = _moved(person, lambda places: places * scale, lambda places: places * scale)
        return replace(moved, area_px=person.area_px * float(scale.prod()))

    return replace(record, size_wh=size_wh, persons=tuple(map(scaled, record.persons)))


def _turned(record: AnnotatedImage, *, clockwise: bool) -> AnnotatedImage:
    """Turn a record by 90 degrees: keypoints are pixels, 0 .. w - 1, and boxes lie between pixels."""
    width, height = record.size_wh

    def turn(places: Floats, last: float) -> Floats:
        x, y = places[..., 0], places[..., 1]
        return np.stack((height - last - y, x) if clockwise else (y, width - last - x), axis=-1)

    def turned(person: PersonAnnotation) -> PersonAnnotation:
        return _moved(person, lambda places: turn(places, 1.0), lambda places: turn(places, 0.0))

    return replace(record, size_wh=(height, width), persons=tuple(map(turned, record.persons)))


def _moved(
    person: PersonAnnotation, move_points: Callable[[Floats], Floats], move_corners: Callable[[Floats], Floats]
) -> PersonAnnotation:
    """Move a person; unlabelled keypoints stay at (0, 0)."""
    points = np.where(person.visibility[:, None] > 0, move_points(person.keypoints_px), 0)
    corners = move_corners(person.box_px.reshape(2, 2))
    box = np.concatenate((corners.min(0), corners.max(0)))
    return replace(person, keypoints_px=points.astype(np.float32), box_px=box.astype(np.float32))
