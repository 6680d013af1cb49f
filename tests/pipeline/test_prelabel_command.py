"""``clickpose prelabel``: what is typed reaches pre-labelling, and what it prints and writes is what came of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clickpose.__main__ import app
from clickpose.errors import StoreError
from integrations.coco import read_coco


@pytest.fixture
def type_prelabel(drawn_people: Path, tiny_model: Path, tmp_path: Path):
    """Type ``clickpose prelabel`` for drawn people, or other images, in this process."""

    def run(*options: str, images: Path = drawn_people) -> Result:
        words = ["prelabel", str(images), str(tmp_path / "out"), "--model", str(tiny_model), "--workers", "0"]
        done = CliRunner().invoke(app, [*words, *options])
        if isinstance(done.exception, Exception):
            raise done.exception
        return done

    return run


def test_a_dry_run_tells_what_a_run_then_does(type_prelabel, tmp_path: Path) -> None:
    assert type_prelabel("--dry-run", "--limit", "3").stdout == (
        "v0001-tiny would label 3 of 8 images, 5 beyond the limit\n"
    )
    done = type_prelabel("--limit", "3", "--json", str(tmp_path / "result.json"))
    assert done.stdout.startswith("v0001-tiny labelled 3 of 8 images in ")
    assert done.stdout.endswith(f", 5 left; the results are in {tmp_path / 'out'}\n")
    assert json.loads((tmp_path / "result.json").read_text())["num_left"] == 5


def test_all_pre_labels_are_written_as_a_coco_file_too_and_none_as_an_empty_one(type_prelabel, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    coco = tmp_path / "new folder" / "all.json"
    for images, options in ((tmp_path / "broken.png", ["--max-failed", "100%"]), (None, [])):
        type_prelabel(*options, "--coco", str(coco), **({"images": images} if images else {}))
        assert len(read_coco(coco).images) == (0 if images else 8)


def test_a_file_that_cannot_be_written_is_found_out_before_anything_is_labelled(type_prelabel, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder: name a file to write"):
        type_prelabel("--coco", str(tmp_path))
    assert not (tmp_path / "out").exists()
