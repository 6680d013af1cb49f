"""The one place where images are decoded: upright as browsers show them, RGB, within limits."""

from __future__ import annotations

import io
import stat
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
    too_many_pixels,
)
from clickpose.images.orientation import read_orientation, turn_upright
from clickpose.images.png import drop_ignored_chunks

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")  # Pillow supports fifty more; some run other programs
BRIGHTEST = (1, 255, 65_535)
MALFORMED = (ValueError, TypeError, OverflowError, struct.error)  # as Pillow has it


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
        with Image.open(io.BytesIO(drop_ignored_chunks(data)), formats=FORMATS) as image:
            refuse_large_work(image, name, limit)
            orientation = read_orientation(image)
            upright = _to_rgb(turn_upright(image, orientation))
    except Image.DecompressionBombError as error:
        raise too_many_pixels(name, "far too many", limit) from error
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
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise ImageError(f"{path} cannot be read: it is not a regular file")
        refuse_large_file(status.st_size, str(path))
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
    return decode_image(data, str(path))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return an RGB image; what is transparent shows white, as on a page."""
    if image.mode.startswith(("I", "F")):
        image = _to_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer, page = image.convert("RGBA"), Image.new("RGB", image.size, "white")
    page.paste(layer, mask=layer)
    return page


def _to_8_bits(grey: Image.Image) -> Image.Image:
    """Scale integers and floats to 8 bits; Pillow would clip them, which makes nearly everything white or black.

    The brightest value of 32 bits is not part of a file: it is the smallest of ``BRIGHTEST`` that no pixel exceeds.
    """
    if grey.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(grey) // 257).astype(np.uint8))
    values = np.nan_to_num(np.asarray(grey, np.float32)).clip(0)
    brightest = next((value for value in BRIGHTEST if values.max() <= value), float(values.max()))
    return Image.fromarray((values * np.float32(255 / brightest)).astype(np.uint8))
