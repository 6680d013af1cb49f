"""What the recipes tell people to type is understood."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from clickpose.__main__ import app
from clickpose.commands.recipes import Recipe
from clickpose.commands.settings import change_settings
from clickpose.training.config import TrainConfig, published
from clickpose.training.crops import CropConfig

RECIPES = (Path(__file__).parents[1] / "examples" / "recipes.md").read_text()
LINES = [re.sub(r"\s*\\\n\s*", " ", line) for line in re.findall(r"^clickpose (?:[^\n]*\\\n)*[^\n]*", RECIPES, re.M)]


@pytest.mark.parametrize("line", LINES)
def test_every_command_is_understood(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    command = get_command(app).commands[name]
    assert command.make_context(name, words).params  # raises for an option that does not exist


@pytest.mark.parametrize("line", [line for line in LINES if "--recipe published" in line])
def test_published_data_is_varied_as_published(line: str) -> None:
    given = get_command(app).commands["train"].make_context("train", shlex.split(line)[2:]).params
    assert given["recipe"] is Recipe.published
    assert change_settings(published(), given["changes"] or ()).augment == CropConfig()


@pytest.mark.parametrize("change", sorted(set(re.findall(r"--set ('[^']+'|[^\s`']+)", RECIPES))))
def test_every_setting_exists(change: str) -> None:
    config = change_settings(TrainConfig(), shlex.split(change))
    assert TrainConfig.from_dict(config.to_dict()) == config
