"""Pictures come out upright, RGB and within limits, or not at all."""

import contextlib
import io
import random
import struct
import tracemalloc
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


@pytest.mark.parametrize("format", ["DDS", "PPM", "ICO", "TGA", "EPS", "PDF"])
def test_only_what_browsers_and_cameras_write_is_decoded(format: str) -> None:
    with pytest.raises(ImageError, match=r"cannot be decoded as a picture: it is none of JPEG, PNG"):
        decode_image(encode(four_colours(), format))


def test_only_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (24, 16), colour) for colour in (RED, GREEN, BLUE)]
    for format in ("GIF", "WEBP", "TIFF", "PNG"):
        picture = decode_image(encode(frames[0], format, save_all=True, append_images=frames[1:]))
        assert picture.size == (24, 16) and picture.getpixel((5, 5))[0] > 240


def repeated_scans(times: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encode(four_colours(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * times + data[-2:]


def test_a_jpeg_that_goes_over_its_pixels_again_and_again_is_refused() -> None:
    assert decode_image(repeated_scans(times=20)).size == (24, 16)
    with pytest.raises(ImageError, match=r"cat.jpg has more than 50 scans"):
        decode_image(repeated_scans(times=60), "cat.jpg")
    with pytest.raises(ImageError, match=r"or 10000 segments"):
        decode_image(b"\xff\xd8" + b"\xff\xe1\x00\x02" * 20_000 + repeated_scans(times=1)[2:])


def tiled_tiff(tile_px: int) -> bytes:
    """A TIFF of 16 x 16 grey pixels in one tile that may be far larger."""
    tile = zlib.compress(bytes(tile_px * tile_px))
    fields = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile_px, 323: tile_px, 324: 134, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + tile


def test_a_tiff_with_tiles_larger_than_itself_is_refused() -> None:
    assert decode_image(tiled_tiff(tile_px=64)).size == (16, 16)
    with pytest.raises(ImageError, match="tiles of more than 1000000 pixels"):
        decode_image(tiled_tiff(tile_px=1024), max_pixels=10**6)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_text_of_a_png_does_not_unfold_without_end(kind: bytes) -> None:
    unfolding = zlib.compress(bytes(50 * 2**20), 9)
    content = b"key\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"\0") + unfolding
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    plain = encode(four_colours())
    tracemalloc.start()
    with contextlib.suppress(ImageError):  # Pillow passes over a colour profile that is too long
        decode_image(plain[:33] + chunk + plain[33:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_limits_are_those_asked_for() -> None:
    data = encode(four_colours(24, 16))
    assert decode_image(data, max_bytes=len(data), max_pixels=24 * 16).size == (24, 16)
    with pytest.raises(ImageError, match="24 x 16 pixels, more than 383"):
        decode_image(data, max_pixels=24 * 16 - 1)
    with pytest.raises(ImageError, match=f"{len(data)} bytes, more than the limit of {len(data) - 1}"):
        decode_image(data, max_bytes=len(data) - 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF"])
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
