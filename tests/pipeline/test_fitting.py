"""A record fits its image: labels stay on what they name, or the image is refused by name with both sizes."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import ImageError
from clickpose.images import Findings, decode_image, open_fitted
from clickpose.training.augment import TrainingImages
from pipeline.dataset import ImageFolder, fit_records
from tests.clickpose.dots import COLOURS, HANDS, POINTS, around, dotted, find_dot

SIZE_WH = (120, 100)
RECORD = AnnotatedImage(1, "a.png", SIZE_WH, dotted(SIZE_WH).persons)


def stored(image: Image.Image, orientation: int = 1) -> Image.Image:
    """An image as it is read from a file with that orientation."""
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(data, "PNG", exif=exif)
    return decode_image(data.getvalue(), "photos/a.png")


def fitted(image: Image.Image, record: AnnotatedImage = RECORD) -> AnnotatedImage:
    return open_fitted(record, lambda _: image, Findings())[1]


def assert_labels_are_on_their_dots(image: Image.Image, record: AnnotatedImage) -> None:
    assert record.size_wh == image.size
    (person,) = record.persons
    for xy, colour in zip(person.keypoints_px, COLOURS, strict=True):
        np.testing.assert_allclose(find_dot(image, colour, around(xy)), xy, atol=1.6)
    lows, highs = person.keypoints_px.min(0), person.keypoints_px.max(0)
    np.testing.assert_allclose(person.box_px, [*lows, *highs], atol=1.1)


@pytest.mark.parametrize("orientation", [6, 8])
def test_labels_of_a_tool_that_ignores_exif_are_turned(orientation: int) -> None:
    upright = stored(dotted(SIZE_WH).image, orientation)
    assert upright.size == SIZE_WH[::-1]
    assert_labels_are_on_their_dots(upright, fitted(upright))


@pytest.mark.parametrize("factor", [0.5, 2, 1.013])
def test_labels_of_an_image_that_was_resized_are_scaled(factor: float) -> None:
    size_wh = tuple(round(factor * side) for side in SIZE_WH)
    image = dotted(SIZE_WH).image.resize(size_wh)
    record = fitted(image)
    assert_labels_are_on_their_dots(image, record)
    assert record.persons[0].area_px == pytest.approx(RECORD.persons[0].area_px * factor**2, rel=0.03)


def test_a_record_that_fits_stays_as_it_is() -> None:
    assert fitted(dotted(SIZE_WH).image) is RECORD


@pytest.mark.parametrize("size_wh, orientation", [((100, 120), 1), ((120, 120), 1), ((120, 100), 1)])
def test_another_image_is_refused_with_both_sizes(size_wh: tuple[int, int], orientation: int) -> None:
    record = AnnotatedImage(1, "a.png", (200, 100))
    with pytest.raises(ImageError, match=rf"photos/a\.png has {size_wh[0]} x {size_wh[1]} pixels, .* says 200 x 100"):
        fitted(stored(Image.new("RGB", size_wh), orientation), record)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four images: sound, cut short, of half the size, and another one than was annotated; a fifth is missing."""
    sound = dotted(SIZE_WH).image
    sound.save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    sound.resize((60, 50)).save(tmp_path / "2.png")
    Image.new("RGB", (300, 40)).save(tmp_path / "3.png")
    return tmp_path


RECORDS = tuple(AnnotatedImage(n, f"{n}.png", SIZE_WH, RECORD.persons) for n in range(5))


def test_training_leaves_out_what_cannot_be_used_and_says_so_once(photos: Path, caplog) -> None:
    images = TrainingImages(RECORDS, ImageFolder(str(photos)), HANDS, skip_bad=True)
    for _ in range(2):
        sizes = [images[n].image.size for n in range(5)]
    assert sizes == [(120, 100), (60, 50), (60, 50), (120, 100), (120, 100)]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [sum(f"{n}.png" in line for line in told) for n in range(5)] == [0, 1, 1, 1, 1]
    np.testing.assert_allclose(images[2].persons[0].keypoints_px, np.array(POINTS) / 2)


def test_training_ends_at_a_bad_image_where_that_is_wanted_or_none_is_good(photos: Path) -> None:
    with pytest.raises(ImageError, match=r"1\.png"):
        TrainingImages(RECORDS, ImageFolder(str(photos)), HANDS)[1]
    with pytest.raises(ImageError, match=r"[34]\.png"):
        TrainingImages(RECORDS[3:], ImageFolder(str(photos)), HANDS, skip_bad=True)[0]


def test_a_data_set_is_fitted_as_a_whole(photos: Path, caplog) -> None:
    found = fit_records(AnnotationSet(HANDS, RECORDS), ImageFolder(str(photos)), skip_bad=True)
    assert [(image.file_name, image.size_wh) for image in found.images] == [("0.png", SIZE_WH), ("2.png", (60, 50))]
    assert "left out 3 of 5 images" in caplog.text
    with pytest.raises(ImageError, match=r"1\.png"):
        fit_records(AnnotationSet(HANDS, RECORDS), ImageFolder(str(photos)), skip_bad=False)


@pytest.mark.parametrize("spelled", ["cam 1\\\\é.png", "cam%201/%C3%A9.png", "cam 1/e\u0301.png", "./cam 1/é.png"])
def test_an_image_is_found_as_other_systems_spell_its_name(tmp_path: Path, spelled: str) -> None:
    (tmp_path / "cam 1").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cam 1" / "\u00e9.png")
    spelled = spelled.replace("\\\\", "\\")
    assert ImageFolder(str(tmp_path))(AnnotatedImage(1, spelled, (8, 8))).size == (8, 8)
    with pytest.raises(ImageError, match="No such"):
        ImageFolder(str(tmp_path))(AnnotatedImage(1, f"x{spelled}", (8, 8)))


def test_of_many_findings_the_first_are_told(caplog) -> None:
    findings = Findings()
    for number in range(100):
        findings.tell(f"image {number} is odd")
    assert len(caplog.records) == 21 and "no more are listed" in caplog.text
