"""A command reads and writes at a path or at a URI alike; nothing of a URI becomes a local path by accident."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from clickpose.__main__ import app
from clickpose.commands.locations import readable_file, readable_folder, writable_file, written
from clickpose.errors import StoreError


def test_local_paths_stay_as_they_are() -> None:
    assert readable_file("data/a.json") == Path("data/a.json") and readable_folder("model") == Path("model")
    with written("out/model") as out:
        assert out == Path("out/model")


def test_a_file_behind_a_uri_is_read_as_it_is_now(tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    for content in ("1", "2"):
        source.write_text(content)
        assert readable_file(f"file://{source}").read_text() == content


def test_what_is_written_arrives_under_its_uri(tmp_path: Path) -> None:
    with written(f"file://{tmp_path}/runs/model") as out:
        (out / "deep").mkdir(parents=True)
        (out / "deep" / "weights").write_bytes(b"w")
        Path(f"{out}-best").write_text("best")
    assert (tmp_path / "runs" / "model" / "deep" / "weights").read_bytes() == b"w"
    assert (tmp_path / "runs" / "model-best").read_text() == "best"


def test_a_uri_of_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing\.json"):
        readable_file(f"file://{tmp_path}/missing.json")


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    """A file with nothing in it."""
    (tmp_path / "taken").touch()
    return tmp_path / "taken"


def test_a_file_that_can_be_written_is_not_created_yet(taken: Path) -> None:
    for name in ("taken", "a.json", "newer/still/a.json"):
        assert writable_file(f"{taken.parent}/{name}") == f"{taken.parent}/{name}"
    assert list(taken.parent.iterdir()) == [taken] and not taken.read_bytes()


def test_a_file_that_cannot_be_written_is_named(taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, why in ((taken.parent, "is a folder"), (taken / "below" / "a.json", "taken is not a folder")):
        with pytest.raises(StoreError, match=why):
            writable_file(str(place))
    monkeypatch.setattr("os.access", lambda place, mode: place != taken.parent)  # root may write everywhere
    with pytest.raises(StoreError, match=r"b\.json cannot be written: you may not write to"):
        writable_file(f"{taken.parent}/b.json")


def test_a_command_looks_at_its_output_file_before_it_begins(taken: Path) -> None:
    result = CliRunner().invoke(app, ["models", "list", "--store", "nowhere://", "--json", f"{taken}/a.json"])
    assert isinstance(result.exception, StoreError) and "a.json cannot be written" in str(result.exception)
