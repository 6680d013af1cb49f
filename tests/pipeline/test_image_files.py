"""Images are found and read wherever they lie, whatever their names."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import fs

from clickpose.errors import ImageError
from pipeline import image_files
from pipeline.image_files import read_image_at
from pipeline.listing import LeftOut, find_images, list_images


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A bucket ``mock://...`` whose content is a folder of this machine."""
    monkeypatch.setattr(
        image_files, "open_once", lambda _: (fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "")
    )


def names_in(folder, found) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in found]


def test_a_folder_is_searched_to_the_bottom_and_sorted(make_images) -> None:
    folder = make_images("b.jpg", "deep/er/a.PNG", "a.jpg", ".hidden.jpg")
    (folder / "notes.md").write_text("no image")
    assert names_in(folder, find_images(folder)) == ["a.jpg", "b.jpg", "deep/er/a.PNG"]


def test_a_pattern_crosses_folders(make_images) -> None:
    folder = make_images("x1.jpg", "deep/x2.jpg", "y.jpg")
    assert names_in(folder, find_images(f"{folder}/*x?.jpg")) == ["deep/x2.jpg", "x1.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(make_images) -> None:
    folder = make_images("a[1].jpg", "a1.jpg")
    assert names_in(folder, find_images(folder / "a[1].jpg")) == ["a[1].jpg"]


def test_a_list_is_kept_as_it_is_each_name_once(tmp_path) -> None:
    missing = tmp_path / "missing.jpg"
    assert find_images([missing, "mock:///b/x.jpg", str(missing)]) == [str(missing), "mock:///b/x.jpg"]


def test_a_text_file_lists_names_relative_to_itself(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("# ours\na.jpg\n\nmock:///b/x.jpg\n")
    assert find_images(tmp_path / "list.txt") == [str(tmp_path / "a.jpg"), "mock:///b/x.jpg"]


@pytest.mark.parametrize("source", ["nowhere", "*.jpg", "list.txt", ""])
def test_nothing_there_is_an_error_that_names_the_place(tmp_path, source) -> None:
    with pytest.raises(ImageError, match=str(tmp_path)):
        find_images(tmp_path / source)
    with pytest.raises(ImageError, match="empty list"):
        find_images([])


def test_a_bucket_is_like_a_folder(bucket, make_images) -> None:
    make_images("a b.jpg", "ü#.jpg", "c.jpg")
    brightness = {name: np.asarray(read_image_at(name)).max() for name in find_images("mock:///images")}
    assert brightness == {
        "mock:///images/a%20b.jpg": 0,
        "mock:///images/%C3%BC%23.jpg": 1,
        "mock:///images/c.jpg": 2,
    }
    assert find_images("mock:///images/c*") == ["mock:///images/c.jpg"]


@pytest.mark.parametrize("prefix", ["mock:///images", "{folder}"])
def test_unreadable_images_are_named(bucket, make_images, prefix) -> None:
    folder = make_images("ok.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    for name in ("broken.jpg", "missing.jpg"):
        uri = f"{prefix.format(folder=folder)}/{name}"
        with pytest.raises(ImageError, match=uri):
            read_image_at(uri)


def test_an_image_too_large_is_not_even_read(bucket, make_images, monkeypatch) -> None:
    make_images("ok.jpg")
    monkeypatch.setenv("CLICKPOSE_MAX_BYTES", "10")
    with pytest.raises(ImageError, match="more than the limit of 10"):
        read_image_at("mock:///images/ok.jpg")


def test_unknown_kinds_of_uri_are_named() -> None:
    with pytest.raises(ImageError, match=r"ftp://host/x\.jpg"):
        read_image_at("ftp://host/x.jpg")


def test_images_are_read_upright(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image_at(str(tmp_path / "turned.jpg")).size == (24, 32)


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jfif", "jpe", "pjpeg", "avif", "mpo", "heic"])
def test_images_are_found_by_any_suffix_in_use(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()
    (tmp_path / "notes.txt").touch()
    assert find_images(tmp_path) == [str(tmp_path / f"a.{suffix}")]


def test_links_are_followed_and_copies_of_tools_are_not_taken(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for path in (folder / ".ipynb_checkpoints", folder / "@eaDir", elsewhere):
        path.mkdir(parents=True)
        (path / "a.jpg").touch()
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(folder)
    assert find_images(folder) == [str(folder / "linked" / "a.jpg")]


def test_what_is_left_out_is_counted_by_reason(make_images, tmp_path: Path) -> None:
    folder = make_images("a.jpg", ".hidden.jpg", "@eaDir/a.jpg", "deep/b.jpg")
    (folder / "notes.md").write_text("no image")
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    (folder / "nowhere.jpg").symlink_to(tmp_path / "missing.jpg")
    left_out = LeftOut()
    found = list(list_images(folder, left_out))
    assert names_in(folder, [f.uri for f in found]) == ["a.jpg", "deep/b.jpg", "itself.jpg", "nowhere.jpg"]
    assert [f.num_bytes is None for f in found] == [False, False, True, True]  # the last are found out when read
    assert left_out.counts == {
        "hidden": 1,
        "a folder of a tool": 1,
        "not an image, by its suffix": 1,
        "a link to a folder that was searched already": 1,
    }
    assert left_out.examples["not an image, by its suffix"] == [str(folder / "notes.md")]


def test_a_folder_of_many_files_takes_little_memory(tmp_path: Path) -> None:
    for i in range(3_000):
        (tmp_path / f"{i:09d}.jpg").touch()
    tracemalloc.start()
    count = sum(1 for _ in list_images(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 3_000 and peak / count < 200  # bytes: its name, and little else


def test_an_image_has_size_and_time_however_it_was_found(bucket, make_images) -> None:
    folder = make_images("a.jpg")
    status = (folder / "a.jpg").stat()
    for source in (folder, f"{folder}/*.jpg", [folder / "a.jpg"], "mock:///images", ["mock:///images/a.jpg"]):
        (found,) = list_images(source)
        assert (found.num_bytes, found.modified_ns) == (status.st_size, status.st_mtime_ns)


def test_a_name_that_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    (name,) = find_images(tmp_path)
    name.encode()  # can be stored
    assert read_image_at(name).size == (3, 2)
