"""Options of a command, written as fields of a dataclass."""

from dataclasses import dataclass, field
from typing import Annotated

import typer
from typer.testing import CliRunner

from clickpose.commands.options import takes


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="In metres.")] = 3
    height: Annotated[int, typer.Option("--tall")] = 2


@dataclass(frozen=True)
class House:
    name: Annotated[str, typer.Argument(help="Of the house.")]
    size: Size = field(default_factory=Size)
    colours: Annotated[list[str] | None, typer.Option()] = None


app = typer.Typer()


@app.command()
@takes(House)
def build(house: House) -> None:
    """Build a house."""
    typer.echo(repr(house))


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_a_command_receives_its_options_as_one_value_with_groups_inside() -> None:
    assert run("mill", "--tall", "9", "--colours", "red") == repr(House("mill", Size(3, 9), ["red"]))


def test_what_is_not_given_is_the_default_of_its_field() -> None:
    assert run("mill") == repr(House("mill"))


def test_help_shows_the_command_its_options_and_those_of_groups() -> None:
    text = run("--help")
    assert all(words in text for words in ("Build a house.", "--width", "In metres.", "--tall", "--colours"))
