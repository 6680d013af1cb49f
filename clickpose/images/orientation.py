"""Images turned exactly as browsers turn them, so that a model sees the pixels that an annotator sees.

Browsers read EXIF in JPEG, PNG and AVIF files only, and never XMP. They read one number of the EXIF block, even if the
rest is malformed; in a PNG only if the block comes before the pixels.
"""

from __future__ import annotations

import struct

from PIL import Image

FORMATS_WITH_EXIF = ("JPEG", "MPO", "PNG", "AVIF")
UPRIGHT = 1
TAG, SHORT = 0x0112, 3  # TIFF's tag for orientation, and the only type that browsers accept it in
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of an image that is opened but not decoded yet; 1 if it has none."""
    if image.format not in FORMATS_WITH_EXIF:
        return UPRIGHT
    try:
        return _orientation_in(_exif_block(image))
    except struct.error:  # it ends too early
        return UPRIGHT


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image turned upright according to its orientation."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _exif_block(image: Image.Image) -> bytes:
    """Return the TIFF block of an image, empty if it has none.

    In a JPEG it follows ``Exif``, a zero, and a byte that browsers skip and Pillow expects to be zero.
    """
    for kind, segment in getattr(image, "applist", ()):
        if kind == "APP1" and segment.startswith(b"Exif\0"):
            return bytes(segment[len(b"Exif\0\0") :])
    block = image.info.get("exif")
    return block.removeprefix(b"Exif\0\0") if isinstance(block, bytes) else b""


def _orientation_in(tiff: bytes) -> int:
    """Return the first valid orientation in the first directory of a TIFF block; 1 if there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for index in range(count):
        tag, kind, length, value = struct.unpack_from(f"{order}HHIH2x", tiff, start + 2 + 12 * index)
        if (tag, kind, length) == (TAG, SHORT, 1) and (value == UPRIGHT or value in TURNS):
            return int(value)
    return UPRIGHT
