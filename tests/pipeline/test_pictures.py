import numpy as np
import pytest
from PIL import Image
from pyarrow import fs

from clickpose.errors import ImageError
from pipeline import pictures
from pipeline.pictures import find_pictures, read_picture


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A bucket ``mock://...`` whose content is a folder of this machine."""
    monkeypatch.setattr(
        pictures, "_open_once", lambda _: (fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "")
    )


def names_in(folder, found) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in found]


def test_a_folder_is_searched_to_the_bottom_and_sorted(make_pictures) -> None:
    folder = make_pictures("b.jpg", "deep/er/a.PNG", "a.jpg", ".hidden.jpg")
    (folder / "notes.md").write_text("no picture")
    assert names_in(folder, find_pictures(folder)) == ["a.jpg", "b.jpg", "deep/er/a.PNG"]


def test_a_pattern_crosses_folders(make_pictures) -> None:
    folder = make_pictures("x1.jpg", "deep/x2.jpg", "y.jpg")
    assert names_in(folder, find_pictures(f"{folder}/*x?.jpg")) == ["deep/x2.jpg", "x1.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(make_pictures) -> None:
    folder = make_pictures("a[1].jpg", "a1.jpg")
    assert names_in(folder, find_pictures(folder / "a[1].jpg")) == ["a[1].jpg"]


def test_a_list_is_kept_as_it_is_each_name_once(tmp_path) -> None:
    missing = tmp_path / "missing.jpg"
    assert find_pictures([missing, "s3://b/x.jpg", str(missing)]) == [str(missing), "s3://b/x.jpg"]


def test_a_text_file_lists_names_relative_to_itself(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("# ours\na.jpg\n\ns3://b/x.jpg\n")
    assert find_pictures(tmp_path / "list.txt") == [str(tmp_path / "a.jpg"), "s3://b/x.jpg"]


@pytest.mark.parametrize("source", ["nowhere", "*.jpg", "list.txt", ""])
def test_nothing_there_is_an_error_that_names_the_place(tmp_path, source) -> None:
    with pytest.raises(ImageError, match=str(tmp_path)):
        find_pictures(tmp_path / source)
    with pytest.raises(ImageError, match="empty list"):
        find_pictures([])


def test_a_bucket_is_like_a_folder(bucket, make_pictures) -> None:
    make_pictures("a b.jpg", "ü#.jpg", "c.jpg")
    brightness = {name: np.asarray(read_picture(name)).max() for name in find_pictures("mock:///pictures")}
    assert brightness == {
        "mock:///pictures/a%20b.jpg": 0,
        "mock:///pictures/%C3%BC%23.jpg": 1,
        "mock:///pictures/c.jpg": 2,
    }
    assert find_pictures("mock:///pictures/c*") == ["mock:///pictures/c.jpg"]


@pytest.mark.parametrize("prefix", ["mock:///pictures", "{folder}"])
def test_unreadable_pictures_are_named(bucket, make_pictures, prefix) -> None:
    folder = make_pictures("ok.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    for name in ("broken.jpg", "missing.jpg"):
        uri = f"{prefix.format(folder=folder)}/{name}"
        with pytest.raises(ImageError, match=uri):
            read_picture(uri)


def test_a_picture_too_large_is_not_even_read(bucket, make_pictures, monkeypatch) -> None:
    make_pictures("ok.jpg")
    monkeypatch.setenv("CLICKPOSE_MAX_BYTES", "10")
    with pytest.raises(ImageError, match="more than the limit of 10"):
        read_picture("mock:///pictures/ok.jpg")


def test_unknown_kinds_of_uri_are_named() -> None:
    with pytest.raises(ImageError, match=r"ftp://host/x\.jpg"):
        read_picture("ftp://host/x.jpg")


def test_pictures_are_read_upright(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(str(tmp_path / "turned.jpg")).size == (24, 32)
