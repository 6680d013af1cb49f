"""Limits on images: small files may keep a decoder busy for hours, or fill the memory.

pixels     a header may state any size
tiles      a TIFF of 16 x 16 pixels may be cut into one tile of a billion, which is decoded as a whole
scans      a progressive JPEG processes all its pixels once per scan; a scan that changes nothing takes 40 bytes
text       a compressed text in a PNG may expand to any size; Pillow stops at ``PngImagePlugin.MAX_TEXT_CHUNK``
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice

from PIL import Image, TiffImagePlugin

from clickpose.errors import ImageError, InvalidConfig

MAX_BYTES = 128 * 2**20
MAX_PIXELS = 250_000_000  # phones take up to 200 million
BYTES_SETTING, PIXELS_SETTING = "CLICKPOSE_MAX_BYTES", "CLICKPOSE_MAX_PIXELS"
MAX_SCANS = 50  # encoders write about ten; for the largest images allowed, 50 take some seconds
MAX_SEGMENTS = 10_000

JPEG = b"\xff\xd8\xff"
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in coded data 0 is stuffing, and D0-D7 restarts it
WITHOUT_LENGTH = (0x01, 0xD8)
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9


def refuse_large_file(num_bytes: int, name: str, max_bytes: int | None = None) -> None:
    """Reject an encoded image with too many bytes; ``max_bytes`` None stands for the setting.

    Raises:
        ImageError: it has more bytes than allowed.
        InvalidConfig: the setting is not a number.
    """
    limit = _setting(BYTES_SETTING, MAX_BYTES) if max_bytes is None else max_bytes
    if num_bytes > limit:
        raise ImageError(
            f"{name} has {num_bytes} bytes, more than the limit of {limit}: raise it with {BYTES_SETTING}, for the"
            " service with max_image_bytes"
        )


def allow_pixels(max_pixels: int | None = None) -> int:
    """Return the limit on pixels, None standing for the setting, and disable Pillow's own limit."""
    limit = _setting(PIXELS_SETTING, MAX_PIXELS) if max_pixels is None else max_pixels
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)
    return limit


def _setting(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdigit():
        raise InvalidConfig(f"{name} is {value!r}: set it to a whole number such as {default}")
    return int(value)


def refuse_long_work(data: bytes, name: str) -> None:
    """Reject a JPEG with too many scans; other formats pass.

    Raises:
        ImageError: it has too many scans, or segments.
    """
    kinds = list(islice(_segments(data), MAX_SEGMENTS + 1)) if data.startswith(JPEG) else []
    if len(kinds) > MAX_SEGMENTS or kinds.count(START_OF_SCAN) > MAX_SCANS:
        raise ImageError(
            f"{name} has more than {MAX_SCANS} scans, or {MAX_SEGMENTS} segments: save it again as an ordinary JPEG"
        )


def refuse_large_work(image: Image.Image, name: str, max_pixels: int) -> None:
    """Reject an image that is opened, but not decoded yet, if decoding would take too much memory.

    Raises:
        ImageError: its size or that of its tiles exceeds the limit.
    """
    if image.width * image.height > max_pixels:
        raise too_many_pixels(name, f"{image.width} x {image.height}", max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _tile_pixels(image) > max_pixels:
        raise ImageError(
            f"{name} has tiles of more pixels than the limit of {max_pixels}: save it again with smaller tiles, or"
            f" raise the limit with {PIXELS_SETTING}"
        )


def too_many_pixels(name: str, size: str, max_pixels: int) -> ImageError:
    """Return the error that an image has more pixels than the limit."""
    return ImageError(
        f"{name} has {size} pixels, more than the limit of {max_pixels}: raise it with {PIXELS_SETTING}, for the"
        " service with max_image_pixels"
    )


def _segments(data: bytes) -> Iterator[int]:
    """Yield the kind of each segment of a JPEG up to its end; data after that is never decoded."""
    at = 2
    while (marker := MARKER.search(data, at)) is not None:
        kind, at = data[marker.start() + 1], marker.end()
        if kind == END_OF_IMAGE:
            return
        if kind not in WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2])
        yield kind


def _tile_pixels(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return width times height of a tile; 0 if the image is made of strips, which are never wider than itself."""
    sides = [image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
    if not all(isinstance(side, int) for side in sides):
        raise ValueError("the size of its tiles is malformed")
    return int(sides[0] * sides[1])
