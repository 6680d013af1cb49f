"""Training options that commands share: a recipe, the settings changed most, and any other one by its name."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

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


@dataclass(frozen=True)
class RecipeOptions:
    """How a model is trained; None leaves a setting as the recipe has it."""

    recipe: Annotated[
        Recipe | None, typer.Option(help="Training settings to start from; by default those for the model's form.")
    ] = None
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Images per batch and worker.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other training setting; may be repeated: --set num_denoised=0 --set feedback.hold=all.",
        ),
    ] = None

    def settings(self, default: TrainConfig, *changes: str) -> TrainConfig:
        """Return the settings of the recipe, or the default ones, with ``changes`` and then the user's own.

        Raises:
            InvalidConfig: a setting is unknown or out of range.
        """
        from clickpose.commands.settings import change_settings
        from clickpose.training import config as recipes

        config: TrainConfig = getattr(recipes, self.recipe.name)() if self.recipe else default
        given = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate")}
        config = dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
        return change_settings(config, [*changes, *(self.changes or ())])
