"""``clickpose data``: what is typed reaches the store."""

from pathlib import Path

from typer.testing import CliRunner

from clickpose.__main__ import app
from pipeline.gold import named_gold
from pipeline.store import Store


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["data", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_gold_images_are_named_listed_and_removed(tmp_path: Path) -> None:
    store = ["--store", str(tmp_path)]
    assert run("gold", *store) == "no image is named as gold\n"
    assert "not annotated yet: a b.jpg, b.jpg" in run("gold", *store, "b.jpg", "a b.jpg")
    assert run("gold", *store) == "a b.jpg\nb.jpg\n"
    run("gold", *store, "--remove", "b.jpg")
    assert "not gold: c.jpg" in run("gold", *store, "--remove", "c.jpg")
    assert named_gold(Store(tmp_path)) == {"a b.jpg"}
