"""Images come out upright, RGB and within limits, or not at all."""

import contextlib
import io
import os
import random
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from clickpose.errors import ImageError, InvalidConfig
from clickpose.images import decode_image, read_image
from clickpose.images.limits import allow_pixels, refuse_large_work

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


# how a camera stores an upright image for each EXIF orientation
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
def test_images_are_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    upright = decode_image(encode(four_colours().transpose(STORED[orientation]), exif=exif))
    assert np.array_equal(upright, four_colours())
    assert upright.getexif().get(ORIENTATION, 1) == 1


def exif_block(*entries: bytes, count: int | None = None, order: str = "<") -> bytes:
    """A TIFF block with these directory entries, in the order of bytes that ``struct`` knows it by."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    number = len(entries) if count is None else count
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, number) + b"".join(entries) + bytes(4)


def orientation_entry(value: int, kind: int = 3, length: int = 1, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHIHH", ORIENTATION, kind, length, value, 0)


SIGNED_RATIONAL = struct.pack("<HHII", 0x011A, 10, 1, 0)  # x resolution, of a type and at a place where it is not
SIDEWAYS = four_colours().transpose(STORED[6])
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize(
    "block",
    [
        exif_block(orientation_entry(6)),
        exif_block(orientation_entry(6, order=">"), order=">"),
        exif_block(SIGNED_RATIONAL, orientation_entry(6)),
        exif_block(orientation_entry(6), SIGNED_RATIONAL),
        exif_block(orientation_entry(6), count=60_000),  # it promises more than it holds
        exif_block(orientation_entry(9), orientation_entry(6)),  # the first valid one counts
        exif_block(orientation_entry(6)).replace(b"Exif\0\0", b"Exif\0\1"),  # browsers skip this byte unread
    ],
)
def test_orientation_counts_whatever_else_is_malformed(block: bytes) -> None:
    upright = decode_image(encode(SIDEWAYS, "JPEG", exif=block, quality=95))
    assert upright.size == four_colours().size
    assert upright.info["orientation"] == 6


@pytest.mark.parametrize(
    "block",
    [
        exif_block(),
        exif_block(orientation_entry(9)),
        exif_block(orientation_entry(0)),
        exif_block(orientation_entry(1), orientation_entry(6)),
        exif_block(orientation_entry(6, kind=4)),  # browsers take a short number only
        exif_block(orientation_entry(6, length=2)),
        exif_block(orientation_entry(6))[:20],
        exif_block(orientation_entry(6))[:-6],
        exif_block(orientation_entry(6)).replace(b"II*", b"II+"),
        b"Exif\0\0",
        b"Exif\0\0no TIFF at all",
    ],
)
def test_an_orientation_that_no_browser_takes_is_none(block: bytes) -> None:
    assert decode_image(encode(SIDEWAYS, "JPEG", exif=block)).size == SIDEWAYS.size


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_xmp_turns_nothing_as_in_browsers(format: str) -> None:
    options = {"xmp": XMP}
    if format == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert decode_image(encode(SIDEWAYS, format, **options)).size == SIDEWAYS.size


@pytest.mark.parametrize("format, turned", [("JPEG", True), ("PNG", True), ("AVIF", True), ("WEBP", False)])
def test_formats_are_turned_as_browsers_turn_them(format: str, turned: bool) -> None:
    data = encode(SIDEWAYS, format, exif=exif_block(orientation_entry(6)))
    assert decode_image(data).size == (four_colours().size if turned else SIDEWAYS.size)


def png_chunk(kind: bytes, content: bytes, damage: int = 0) -> bytes:
    """A chunk of a PNG; its checksum is that of the content, plus ``damage``."""
    checksum = (zlib.crc32(kind + content) + damage) % 2**32
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_exif(orientation: int, damage: int = 0) -> bytes:
    return png_chunk(b"eXIf", exif_block(orientation_entry(orientation)).removeprefix(b"Exif\0\0"), damage)


def with_chunks(*chunks: bytes) -> bytes:
    png = encode(SIDEWAYS)
    return png[:33] + b"".join(chunks) + png[33:]  # behind the header


def test_exif_behind_the_pixels_of_a_png_comes_too_late() -> None:
    png = encode(SIDEWAYS)
    assert decode_image(png[:-12] + png_exif(6) + png[-12:]).size == SIDEWAYS.size


@pytest.mark.parametrize(
    "chunks, orientation",
    [
        ([png_exif(3), png_exif(6)], 3),
        ([png_exif(3, damage=1), png_exif(6)], 6),
        ([png_exif(3), png_exif(6, damage=1)], 3),
        ([png_exif(6, damage=1)], 1),
        ([png_chunk(b"eXIf", b"no TIFF at all"), png_exif(6)], 1),
    ],
)
def test_the_first_undamaged_exif_of_a_png_counts_as_in_browsers(chunks: list[bytes], orientation: int) -> None:
    assert decode_image(with_chunks(*chunks)).info["orientation"] == orientation


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"pHYs", b"gAMA", b"iCCP", b"tIME", b"prVt"])
def test_a_damaged_optional_chunk_does_not_make_a_png_unreadable(kind: bytes) -> None:
    assert np.array_equal(decode_image(with_chunks(png_chunk(kind, b"\0" * 9, damage=1))), SIDEWAYS)


def test_damaged_pixels_of_a_png_are_refused() -> None:
    damaged = bytearray(encode(SIDEWAYS))
    damaged[damaged.index(b"IDAT") + 4] ^= 1
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_image(bytes(damaged))


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
    "dtype, brightest", [(np.float32, 1), (np.float32, 255), (np.int32, 65_535), (np.int32, 10**6)]
)
def test_pixels_of_32_bits_keep_their_brightness(dtype: type, brightest: int) -> None:
    ramp = np.tile((np.array([0, 0.25, 0.5, 1]) * brightest).repeat(8), (8, 1)).astype(dtype)
    grey = np.asarray(decode_image(encode(Image.fromarray(ramp), "TIFF")))[4, 4::8, 0]
    assert np.abs(grey - np.array([0, 63.75, 127.5, 255])).max() <= 1
    assert not np.asarray(decode_image(encode(Image.fromarray(ramp * 0), "TIFF"))).any()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF", "GIF"])
def test_what_is_transparent_shows_white_as_on_a_page(format: str) -> None:
    layer = four_colours().convert("RGBA")
    layer.paste((0, 0, 0, 0), (0, 0, 12, 16))
    upright = decode_image(encode(layer, format))
    assert upright.mode == "RGB"
    assert upright.getpixel((3, 8)) == WHITE
    assert np.abs(np.subtract(upright.getpixel((20, 2)), GREEN)).max() < 40


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
def test_what_is_no_image_is_refused_by_name(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=f"cat.png {said}"):
        decode_image(data, "cat.png")


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size."""
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("size_wh", [(12_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(size_wh: tuple[int, int]) -> None:
    with (
        warnings.catch_warnings(),
        pytest.raises(
            ImageError,
            match=r"bomb.png has .* pixels, more than the limit of 100000000: raise it with CLICKPOSE_MAX_PIXELS",
        ),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        decode_image(png_header(*size_wh) + bytes(4) + b"IDAT", "bomb.png", max_pixels=10**8)


@pytest.mark.parametrize("format", ["DDS", "PPM", "ICO", "TGA", "EPS", "PDF"])
def test_only_what_browsers_and_cameras_write_is_decoded(format: str) -> None:
    with pytest.raises(ImageError, match=r"cannot be decoded as an image: it is none of JPEG, PNG"):
        decode_image(encode(four_colours(), format))


def test_only_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (24, 16), colour) for colour in (RED, GREEN, BLUE)]
    for format in ("GIF", "WEBP", "TIFF", "PNG"):
        image = decode_image(encode(frames[0], format, save_all=True, append_images=frames[1:]))
        assert image.size == (24, 16) and image.getpixel((5, 5))[0] > 240


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


@pytest.mark.parametrize("value", ["plenty", "-1", "2e8"])
def test_a_limit_that_is_no_number_is_not_passed_over(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKPOSE_MAX_PIXELS", value)
    with pytest.raises(InvalidConfig, match=f"CLICKPOSE_MAX_PIXELS is '{value}': set it to a whole number"):
        decode_image(encode(four_colours()))


@pytest.mark.parametrize("size_wh", [(12_032, 9_024), (16_320, 12_240)])
def test_telephone_images_of_108_and_200_million_pixels_are_no_attack(size_wh: tuple[int, int]) -> None:
    limit = allow_pixels()
    with Image.open(io.BytesIO(png_header(*size_wh) + bytes(4) + b"IDAT")) as image:
        refuse_large_work(image, "phone.png", limit)
        assert image.size == size_wh


def test_a_tiff_with_tiles_larger_than_itself_is_refused() -> None:
    assert decode_image(tiled_tiff(tile_px=64)).size == (16, 16)
    with pytest.raises(ImageError, match="tiles of more pixels than the limit of 1000000"):
        decode_image(tiled_tiff(tile_px=1024), max_pixels=10**6)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_text_of_a_png_does_not_unfold_without_end(kind: bytes) -> None:
    unfolding = zlib.compress(bytes(50 * 2**20), 9)
    content = b"key\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"\0") + unfolding
    chunk, plain = png_chunk(kind, content), encode(four_colours())
    tracemalloc.start()
    with contextlib.suppress(ImageError):  # Pillow passes over a colour profile that is too long
        decode_image(plain[:33] + chunk + plain[33:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_limits_are_those_asked_for() -> None:
    data = encode(four_colours(24, 16))
    assert decode_image(data, max_bytes=len(data), max_pixels=24 * 16).size == (24, 16)
    with pytest.raises(ImageError, match="24 x 16 pixels, more than the limit of 383"):
        decode_image(data, max_pixels=24 * 16 - 1)
    with pytest.raises(ImageError, match=f"{len(data)} bytes, more than the limit of {len(data) - 1}"):
        decode_image(data, max_bytes=len(data) - 1)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF"])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_image_is_a_image_or_an_image_error(format: str) -> None:
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


def test_what_never_ends_is_not_read(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zeros.jpg"):
        with pytest.raises(ImageError, match=f"{name} cannot be read: it is not a regular file"):
            read_image(tmp_path / name)


def test_limits_are_told_with_the_setting_that_raises_them(monkeypatch, tmp_path) -> None:
    data = encode(four_colours())
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setenv("CLICKPOSE_MAX_PIXELS", "100")
    with pytest.raises(
        ImageError, match=r"a\.png has 24 x 16 pixels, more than the limit of 100: raise it with CLICKPOSE_M"
    ):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("CLICKPOSE_MAX_BYTES", "10")
    with pytest.raises(ImageError, match="bytes, more than the limit of 10: raise it with CLICKPOSE_MAX_B"):
        read_image(tmp_path / "a.png")


def test_a_telephone_image_of_200_megapixels_is_no_attack() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(encode(Image.new("1", (16_320, 12_240))), max_pixels=None).size == (16_320, 12_240)
