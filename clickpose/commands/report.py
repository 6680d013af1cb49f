"""``clickpose report``: how a store's model improved, round by round."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clickpose.commands.output import JsonFile, file_to_write, output_file, write_json


def report(
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    plot: Annotated[str | None, output_file(help="Figure to write, such as rounds.png.")] = None,
    json: JsonFile = None,
) -> None:
    """Report every round: clicks per person, effort, drift of new images, the worst images, and whether to continue.

    Drift is how many more clicks per person the new images of a round cost, with the model that was current.
    """
    from pipeline.control_arm import outlook
    from pipeline.progress_report import draw_progress, progress_lines, to_text, worst_images
    from pipeline.store import Store

    lines = progress_lines(Store(store))
    after = outlook(Store(store), [line.round for line in lines]) if lines else None
    typer.echo(to_text(lines), nl=False)
    if after is not None:
        typer.echo(f"\n{after.in_words()}", nl=False)
    if plot is not None and lines:
        with file_to_write(plot) as path:
            draw_progress(lines).savefig(path)
    worst = [asdict(one) for one in worst_images(lines[-1].round)] if lines else []
    write_json(json, {"rounds": [asdict(line) for line in lines], "worst": worst, "outlook": after and after.to_dict()})
