"""The one place where pictures are decoded: upright, RGB, within limits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clickpose.errors import ImageError
from clickpose.images.limits import refuse_large_work, refuse_long_work

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")  # Pillow knows fifty more; some run other programs


def decode_image(
    data: bytes, name: str = "image", *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an encoded picture to RGB with its EXIF orientation applied, as browsers show it.

    Args:
        data: the encoded picture, in one of ``FORMATS``; of several frames the first counts.
        name: what to call it in an error.
        max_bytes: limit on the encoded size.
        max_pixels: limit on width times height; checked, as are the other limits of ``limits.py``, before anything
            is decoded.

    Raises:
        ImageError: the picture is empty, broken or beyond a limit.
    """
    if len(data) > max_bytes:
        raise ImageError(f"{name} has {len(data)} bytes, more than the limit of {max_bytes}")
    refuse_long_work(data, name)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            refuse_large_work(picture, name, max_pixels)
            return _to_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} cannot be decoded as a picture: it is none of {', '.join(FORMATS)}") from error
    except (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} cannot be decoded as a picture: {error}") from error


def read_image(path: str | Path) -> Image.Image:
    """Read and decode a picture file; see ``decode_image``.

    Raises:
        ImageError: the file is missing, unreadable, broken or beyond a limit.
    """
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{path} has {size} bytes, more than the limit of {MAX_BYTES}")
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
    return decode_image(data, str(path))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8, which leaves little but white
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    return picture.convert("RGB")
