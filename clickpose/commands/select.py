"""``clickpose select``: which pre-labelled images are worth a person's time next."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.commands.options import takes
from clickpose.commands.output import JsonFile, file_to_write, output_file, write_json
from clickpose.errors import InvalidConfig

if TYPE_CHECKING:
    from pipeline.candidates import Candidates
    from pipeline.selection import Choice

SHOWN = 10


@dataclass(frozen=True)
class SelectCommand:
    """From what is chosen, how many, by what, and where the order goes."""

    prelabels: Annotated[str, typer.Argument(help="Folder or URI that clickpose prelabel wrote.")]
    count: Annotated[int, typer.Option(help="Images to choose.", min=1)]
    by: Annotated[
        str, typer.Option(help="expected-clicks, least-score, loop, flip, likelihood, mix, random or core-set.")
    ] = "expected-clicks"
    out: Annotated[str | None, output_file(help="CSV file to write: image, reason, control.")] = None
    url: Annotated[
        str | None, typer.Option(help="URL of Label Studio, to serve these tasks first; its token: LABEL_STUDIO_TOKEN.")
    ] = None
    title: Annotated[str | None, typer.Option(help="Title of the project there.")] = None
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0
    json: JsonFile = None


@takes(SelectCommand)
def select(command: SelectCommand) -> None:
    """Choose the images to annotate next, in order and with reasons; with --url, annotators get them in that order.

    One image in ten is drawn at random, to measure the model on: clickpose report does that. With --url, images that
    are annotated in the project are left out.
    """
    from clickpose.commands.collecting import connect, find_project
    from integrations.label_studio.ordering import annotated_names, set_order
    from pipeline.selection import select as choose

    if (command.url is None) != (command.title is None):
        raise InvalidConfig("--url and --title go together: they name the project whose tasks are put in order")
    if command.url is None or command.title is None:
        choices = choose(_candidates(command.prelabels), command.count, command.by, seed=command.seed)
        _keep(choices, command)
        return
    with connect(command.url) as client:
        project = find_project(client, command.title)
        candidates = _candidates(command.prelabels, annotated_names(client, project))
        choices = choose(candidates, command.count, command.by, seed=command.seed)
        ordered = set_order(client, project, [choice.name for choice in choices])
    _keep(choices, command)
    missing = f"; {len(ordered.missing)} have no task there: push them first" if ordered.missing else ""
    typer.echo(f"{ordered.tasks} tasks of {command.title!r} come first, in this order{missing}")


def _candidates(prelabels: str, leave_out: frozenset[str] = frozenset()) -> Candidates:
    from pipeline.candidates import read_candidates
    from pipeline.shards import read_prelabels

    candidates = read_candidates(read_prelabels(prelabels), leave_out)
    if not len(candidates):
        why = "all images are annotated" if leave_out else "it has no pre-labels; clickpose prelabel writes some"
        raise InvalidConfig(f"there is nothing to choose from in {prelabels}: {why}")
    return candidates


def _keep(choices: Sequence[Choice], command: SelectCommand) -> None:
    """Print what was chosen, and note it beside the pre-labels."""
    from pipeline.control_arm import remember_choices
    from pipeline.store import Store

    _tell(choices, command)
    remember_choices(Store(command.prelabels), command.by, choices)


def _tell(choices: Sequence[Choice], command: SelectCommand) -> None:
    if len(choices) < command.count:
        typer.echo(f"there are only {len(choices)} images to choose from:")
    for choice in choices[:SHOWN]:
        typer.echo(f"{choice.name}: {choice.reason}")
    if len(choices) > SHOWN:
        where = f" in {command.out}" if command.out else "; --out FILE writes them all"
        typer.echo(f"and {len(choices) - SHOWN} more{where}")
    if command.out:
        with file_to_write(command.out) as path, path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("image", "reason", "control"))
            rows.writerows((choice.name, choice.reason, int(choice.is_control)) for choice in choices)
    write_json(command.json, {"by": command.by, "choices": [asdict(choice) for choice in choices]})
