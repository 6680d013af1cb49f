"""The one place where images are decoded: upright as browsers show them, RGB, within limits."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from clickpose.errors import ImageError
from clickpose.images.fitting import NAME, ORIENTATION
from clickpose.images.limits import (
    allow_pixels,
    refuse_large_file,
    refuse_large_work,
    refuse_long_work,
)
from clickpose.images.orientation import read_orientation, turn_upright
from clickpose.images.png import drop_ignored_chunks

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")  # Pillow supports fifty more; some run other programs
MALFORMED = (ValueError, TypeError, OverflowError, struct.error, Image.DecompressionBombError)  # as Pillow has it


def decode_image(
    data: bytes, name: str = "image", *, max_bytes: int | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Decode an encoded image to RGB, turned upright as browsers do; ``info`` keeps the orientation it had.

    Args:
        data: the encoded image, in one of ``FORMATS``; of several frames the first is used.
        name: its name in error messages.
        max_bytes: limit on the encoded size; None stands for that of ``limits.py``.
        max_pixels: limit on width times height, likewise; checked, as are its other limits, before anything is decoded.

    Raises:
        ImageError: the image is empty, broken or beyond a limit.
    """
    refuse_large_file(len(data), name, max_bytes)
    refuse_long_work(data, name)
    limit = allow_pixels(max_pixels)
    try:
        with Image.open(io.BytesIO(drop_ignored_chunks(data)), formats=FORMATS) as picture:
            refuse_large_work(picture, name, limit)
            orientation = read_orientation(picture)
            upright = _to_rgb(turn_upright(picture, orientation))
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} cannot be decoded as an image: it is none of {', '.join(FORMATS)}") from error
    except (OSError, RuntimeError, SyntaxError, *MALFORMED) as error:
        raise ImageError(f"{name} cannot be decoded as an image: {error}") from error
    upright.info = {
        ORIENTATION: orientation,
        NAME: name,
    }  # other metadata of the file does not apply to the upright image
    return upright


def read_image(path: str | Path) -> Image.Image:
    """Read and decode an image file; see ``decode_image``.

    Raises:
        ImageError: the file is missing, unreadable, broken or beyond a limit.
    """
    try:
        refuse_large_file(Path(path).stat().st_size, str(path))
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
    return decode_image(data, str(path))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8, which makes nearly everything white
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    return picture.convert("RGB")
