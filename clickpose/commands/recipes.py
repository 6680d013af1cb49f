"""Training settings as commands take them: a recipe, the settings changed most, and any other one by its name."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from clickpose.errors import InvalidModel

if TYPE_CHECKING:
    from clickpose.training.config import TrainConfig


class Recipe(enum.StrEnum):
    """Training settings to start from; the names are those of functions."""

    published = "published"
    demo_training = "demo"
    demo_finishing = "demo-finishing"
    demo_clicks = "demo-clicks"
    fine_tuning = "fine-tuning"
    person_frame_training = "person-frame"
    person_frame_tuning = "person-frame-tuning"


RecipeOption: TypeAlias = Annotated[
    Recipe | None, typer.Option(help="Training settings to start from; by default those for the model's form.")
]
Epochs: TypeAlias = Annotated[int | None, typer.Option(help="Passes over the data.")]
BatchSize: TypeAlias = Annotated[int | None, typer.Option(help="Images per batch and worker.")]
LearningRate: TypeAlias = Annotated[float | None, typer.Option(help="Highest learning rate.")]
Changes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other training setting; may be given several times: --set num_denoised=0 --set feedback.hold=all.",
    ),
]


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the content of a model folder's ``config.json``.

    Raises:
        InvalidModel: there is none, or it cannot be read.
    """
    try:
        config: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{folder} is not a model folder: config.json cannot be read ({error})") from error
    return config


def recipe_for(config: Mapping[str, Any], *, is_fine_tune: bool) -> Recipe:
    """Return the recipe for a model, given the content of its ``config.json``: from scratch, or as a fine-tune."""
    if config.get("form") == "person_frame":
        return Recipe.person_frame_tuning if is_fine_tune else Recipe.person_frame_training
    return Recipe.fine_tuning if is_fine_tune else Recipe.published


def training_settings(recipe: Recipe, changes: Sequence[str] | None, **wanted: Any) -> TrainConfig:
    """Return a recipe with some settings changed; None leaves a setting as it is.

    Raises:
        InvalidConfig: a setting is unknown or out of range.
    """
    from clickpose.commands.settings import change_settings
    from clickpose.training import config as recipes

    config: TrainConfig = getattr(recipes, recipe.name)()
    config = dataclasses.replace(config, **{name: value for name, value in wanted.items() if value is not None})
    return change_settings(config, changes or ())
