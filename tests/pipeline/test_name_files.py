"""Lists of images are read in the forms and encodings in which tools write them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from clickpose.errors import ImageError
from pipeline import image_files
from pipeline.listing import find_images

NAMES = ["cam1/größe.jpg", "mock:///bucket/x.jpg"]
COCO = {"images": [{"id": i, "file_name": name} for i, name in enumerate(NAMES)], "annotations": []}
LOCAL = [{"data": {"image": one}} for one in ("/data/local-files/?d=cam1/gr%C3%B6%C3%9Fe.jpg", NAMES[1])]
TASKS = [{"id": i, "data": {"image": "/data/x", "file_name": name}} for i, name in enumerate(NAMES)]
TEXTS = {
    "list.txt": "# ours\n\n" + "\r\n".join(NAMES),
    "zeros.txt": "\0".join(NAMES),
    "one.csv": "\n".join(NAMES),
    "many.csv": "id,File_Name\n1,cam1/größe.jpg\n2,mock:///bucket/x.jpg\n",
    "semicolons.csv": 'id;"image"\n1;"cam1/größe.jpg"\n2;mock:///bucket/x.jpg\n',
    "TABS.TSV": "image\tsplit\ncam1/größe.jpg\ttrain\nmock:///bucket/x.jpg\tdev\n",
    "tabs.csv": "image\tsplit\ncam1/größe.jpg\ttrain\nmock:///bucket/x.jpg\tdev\n",
    "tabs.tsv": "image\tsplit\ncam1/größe.jpg\ttrain\nmock:///bucket/x.jpg\tdev\n",
    "lines.jsonl": "\n".join(json.dumps({"uri": name}) for name in NAMES),
    "strings.ndjson": "\n".join(map(json.dumps, NAMES)),
    "list.json": json.dumps(NAMES),
    "coco.json": json.dumps(COCO, ensure_ascii=False),
    "tasks.json": json.dumps(TASKS),
    "local.json": json.dumps(LOCAL),
    "local.csv": "image,id\n" + "\n".join(f"{task['data']['image']},1" for task in LOCAL),
}


def expected(folder: Path) -> list[str]:
    return [str(folder / "cam1" / "größe.jpg"), "mock:///bucket/x.jpg"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", TEXTS)
def test_lists_are_read_whatever_their_form_and_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(TEXTS[name].encode(encoding))
    assert find_images(tmp_path / name) == expected(tmp_path)


def test_a_parquet_file_lists_names_in_a_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"label": [1, 2, 3], "image": [*NAMES, None]}), tmp_path / "list.parquet")
    assert find_images(tmp_path / "list.parquet") == expected(tmp_path)


def test_a_list_in_a_bucket_is_relative_to_its_place_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(image_files, "open_once", lambda _: (folder, ""))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "list.txt").write_text("cam 1/a.jpg")
    assert find_images("mock:///photos/list.txt") == ["mock:///photos/cam%201/a.jpg"]
    assert find_images("mock:///photos/list.txt?region=eu") == ["mock:///photos/cam%201/a.jpg?region=eu"]


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("list.txt", b"caf\xe9.jpg", "save it as UTF-8"),
        ("list.csv", b"id,label\n1,2\n", "no column of image names, only id, label: rename it to 'file_name'"),
        (
            "list.csv",
            b"a.jpg;train\nb.jpg;dev\n",
            "no column of image names, only a.jpg, train: rename it to 'file_name'",
        ),
        ("list.json", b'{"pictures": []}', "a list of names, a COCO file or tasks of Label Studio are expected"),
        ("list.json", b'["a.jpg"', "cannot be read as JSON"),
        ("list.json", b'[{"id": 3}]', "there are no images in"),
        ("list.parquet", b"PAR1", "cannot be read as Parquet"),
        ("list.txt", b"# nothing\n", "there are no images in"),
    ],
)
def test_a_list_that_is_none_is_explained(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=said) as error:
        find_images(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_entries_that_name_nothing_are_counted_and_the_others_taken(tmp_path: Path, caplog) -> None:
    (tmp_path / "list.json").write_text('["a.jpg", {"id": 3}, null]')
    (tmp_path / "list.csv").write_text("id,image\n1,a.jpg\n2\n3,\n")
    for name in ("list.json", "list.csv"):
        assert find_images(tmp_path / name) == [str(tmp_path / "a.jpg")]
        assert f"{name}: 2 of 3 entries have no image name" in caplog.text
