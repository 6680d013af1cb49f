"""Pictures come out upright, RGB and within limits, or not at all."""

import contextlib
import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, features

from clickpose.errors import ImageError
from clickpose.images import decode_image, read_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def encode(image: Image.Image, format: str = "PNG", **options) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def four_colours(width: int = 24, height: int = 16) -> Image.Image:
    """Red, green over blue, white."""
    corners = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    return Image.fromarray(corners.repeat(height // 2, 0).repeat(width // 2, 1))


# how a camera stores an upright picture for each EXIF orientation
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    upright = decode_image(encode(four_colours().transpose(STORED[orientation]), exif=exif))
    assert np.array_equal(upright, four_colours())
    assert upright.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("mode, format", [("CMYK", "TIFF"), ("RGBA", "PNG"), ("P", "GIF"), ("YCbCr", "TIFF")])
def test_any_mode_becomes_rgb(mode: str, format: str) -> None:
    decoded = decode_image(encode(four_colours().convert(mode), format))
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded).astype(int) - np.asarray(four_colours())).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_becomes_rgb_of_the_same_brightness(mode: str) -> None:
    ramp = np.tile(np.array([0, 255] if mode == "1" else [0, 60, 128, 255], np.uint8).repeat(8), (8, 1))
    grey = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    assert grey.mode == mode
    assert np.array_equal(decode_image(encode(grey)), np.stack([ramp] * 3, -1))


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "cannot be decoded"),
        (b"<html>404 Not Found</html>", "cannot be decoded"),
        (encode(four_colours())[:60], "cannot be decoded"),
        (encode(four_colours(), "JPEG")[:-300], "cannot be decoded"),
    ],
    ids=["empty", "a page", "half a PNG", "half a JPEG"],
)
def test_what_is_no_picture_is_refused_by_name(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=f"cat.png {said}"):
        decode_image(data, "cat.png")


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("size_wh", [(12_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(size_wh: tuple[int, int]) -> None:
    with warnings.catch_warnings(), pytest.raises(ImageError, match="bomb"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        decode_image(png_header(*size_wh), "bomb.png")


def test_limits_are_those_asked_for() -> None:
    data = encode(four_colours(24, 16))
    assert decode_image(data, max_bytes=len(data), max_pixels=24 * 16).size == (24, 16)
    with pytest.raises(ImageError, match="24 x 16 pixels, more than 383"):
        decode_image(data, max_pixels=24 * 16 - 1)
    with pytest.raises(ImageError, match=f"{len(data)} bytes, more than the limit of {len(data) - 1}"):
        decode_image(data, max_bytes=len(data) - 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "DDS"])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_picture_is_a_picture_or_an_image_error(format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    rng, data = random.Random(0), encode(four_colours(), format)
    for _ in range(120):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 5, 20))):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ImageError):
            assert decode_image(bytes(damaged)).mode == "RGB"


def test_files_are_read_and_named_in_errors(tmp_path) -> None:
    path = tmp_path / "people.jpg"
    with pytest.raises(ImageError, match=r"people.jpg cannot be read: No such file"):
        read_image(path)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)
    path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"people.jpg cannot be decoded"):
        read_image(path)
    path.write_bytes(encode(four_colours()))
    assert np.array_equal(read_image(path), four_colours())
