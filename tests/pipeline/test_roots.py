"""An image's name is its path below the root it was found under, whatever way it was found."""

import pytest

from pipeline.listing import find_images
from pipeline.roots import common_folder, read_roots, relative_name, remember_root, root_of
from pipeline.store import Store

ODD = ["cam1/0001.jpg", "cam2/0001.jpg", "ü b/100%.jpg", "q?.jpg", "frame:01.jpg", "a#1.jpg"]


def names_below_root(source) -> list[str]:
    found = find_images(source)
    return [relative_name(name, [root_of(source, common_folder(found))]) for name in found]


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_is_the_root_as_path_and_as_uri(make_images, ending) -> None:
    folder = make_images(*ODD)
    assert sorted(names_below_root(f"{folder}{ending}")) == sorted(ODD)
    assert sorted(names_below_root(f"file://{folder}{ending}")) == sorted(ODD)


def test_a_pattern_a_list_and_a_image_have_a_root(make_images) -> None:
    folder = make_images("cam1/a.jpg", "cam1/b.jpg", "cam2/a.jpg", "p[1].jpg")
    assert names_below_root(f"{folder}/cam*/a.jpg") == ["cam1/a.jpg", "cam2/a.jpg"]
    (folder / "list.txt").write_text("cam1/a.jpg\ncam1/b.jpg\n")
    assert names_below_root(folder / "list.txt") == ["cam1/a.jpg", "cam1/b.jpg"]
    assert names_below_root(folder / "p[1].jpg") == ["p[1].jpg"]
    assert names_below_root([folder / "cam1/a.jpg", folder / "cam2/a.jpg"]) == ["cam1/a.jpg", "cam2/a.jpg"]


def test_what_has_nothing_in_common_keeps_its_full_name() -> None:
    assert common_folder(["/a/x.jpg", "s3://b/y.jpg"]) == ""
    assert relative_name("s3://b/y.jpg", ["/a"]) == "s3://b/y.jpg"
    assert relative_name("/photos2/a.jpg", ["/photos"]) == "/photos2/a.jpg"


def test_names_stay_when_more_roots_are_labelled_into_the_same_folder(tmp_path) -> None:
    store = Store(tmp_path)
    names = ["/p/cam1/a.jpg", "/p/cam2/a.jpg"]
    assert read_roots(store, "/p") == ["/p"]
    for root in ("/p/cam1", "/p", "/p/cam1"):
        remember_root(store, root)
    roots = read_roots(store, "/p")
    assert roots == ["/p/cam1", "/p"]
    assert [relative_name(name, roots) for name in names] == ["a.jpg", "cam2/a.jpg"]
