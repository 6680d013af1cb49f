"""``clickpose retrain``: one round from annotations to, perhaps, a new model; or rounds until Ctrl-C."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from clickpose.commands.output import JsonFile, write_json
from clickpose.commands.recipes import (
    BatchSize,
    Changes,
    Epochs,
    LearningRate,
    RecipeOption,
    recipe_for,
    training_settings,
)
from integrations.label_studio.policy import Policy


def retrain(
    store: Annotated[str, typer.Option(help="Store of models, snapshots and reports.")],
    url: Annotated[str, typer.Option(help="URL of Label Studio; its token is read from LABEL_STUDIO_TOKEN.")],
    title: Annotated[str, typer.Option(help="Title of the project.")],
    images: Annotated[
        str | None,
        typer.Option(help="Folder or URI that was pre-labelled; without it, images come from Label Studio."),
    ] = None,
    recipe: RecipeOption = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    changes: Changes = None,
    held_back_share: Annotated[float, typer.Option(help="Share of pictures to compare on.")] = 0.2,
    min_new_pictures: Annotated[int, typer.Option(help="Newly annotated pictures that a round needs.")] = 20,
    min_persons: Annotated[int, typer.Option(help="Persons to compare on; with fewer the champion stays.")] = 30,
    replay: Annotated[
        list[str] | None,
        typer.Option(help="COCO file of further data that the champion learned from, as path or URI; may repeat."),
    ] = None,
    replay_images: Annotated[
        list[str] | None, typer.Option(help="Folder of its images, if they do not lie beside the file; may repeat.")
    ] = None,
    replay_share: Annotated[
        float, typer.Option(help="Share of the training that repeats what the champion learned from.")
    ] = 0.5,
    workers: Annotated[int, typer.Option(help="Ray workers; 0 for this process.")] = 0,
    max_failures: Annotated[int, typer.Option(help="How often a worker may die before the round fails.")] = 3,
    gpus_per_worker: Annotated[
        float | None, typer.Option(help="GPUs of each worker; by default 1 where the cluster could have any.", min=0)
    ] = None,
    policy: Annotated[Policy, typer.Option(help="Which of several annotations of one task is used.")] = Policy.latest,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Use an annotation that was set aside, by the id in the report; may repeat."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run rounds until Ctrl-C, whatever fails.")] = False,
    every: Annotated[float, typer.Option(help="With --watch: hours after which little that is new is enough.")] = 24.0,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With --watch: where a webhook says that there is something new."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Collect, snapshot, fine-tune, compare in clicks, promote if better; run it again to resume.

    With --watch, a round runs when --min-new-pictures are new, or whatever is new after --every hours. Annotations are
    looked at every ten minutes, and at once when a webhook arrives: let the service forward_webhooks_to http://HOST:PORT.
    """
    from clickpose.commands.collecting import collect
    from clickpose.commands.data_sources import data_sources
    from clickpose.commands.predict_anew import Project, predict_anew
    from integrations.store import MODELS
    from pipeline import retrain as rounds
    from pipeline.dataset import FETCHED
    from pipeline.gate import GateRule
    from pipeline.registry import Registry
    from pipeline.set_aside import accept as use_anyway
    from pipeline.store import Store
    from pipeline.watch import Schedule, wake_up_calls
    from pipeline.watch import watch as watch_rounds

    wanted = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    where = Store(store)
    champion = Registry(where).current()
    form = where.read_json(f"{MODELS}/{champion}/config.json") if champion else {}
    new_epochs = [] if "form" in form else ["scenes_per_epoch=none"]  # the published form sees each image once
    training = training_settings(
        recipe or recipe_for(form, is_fine_tune=True), [*new_epochs, *(changes or ())], **wanted
    )
    config = rounds.RetrainConfig(
        images="\n".join([*([images] if images else []), where.uri_of(FETCHED)]),
        training=training,
        held_back_share=held_back_share,
        min_new_pictures=min_new_pictures,
        num_workers=workers,
        max_failures=max_failures,
        gpus_per_worker=gpus_per_worker,
        rule=GateRule(min_persons=min_persons),
        replay=data_sources(replay or (), replay_images or ()),
        replay_share=replay_share,
    )
    project = Project(url, title, config.images)
    if accept:
        use_anyway(where, accept)

    def one_round(is_due: bool = False) -> rounds.RoundReport:
        wanted = dataclasses.replace(config, min_new_pictures=1) if is_due else config
        current = Registry(where).current()
        model: Path = Registry(where).fetch(current) if current else Path(store) / "models" / "current"
        report = rounds.retrain(
            where,
            lambda: collect(url, title, model, images=images, fetch_into=where, policy=policy),
            wanted,
            on_promoted=lambda version: predict_anew(project, where, version, num_workers=workers),
        )
        typer.echo(f"{report.challenger or 'no challenger'}: {report.reason}")
        write_json(json, report.to_dict())
        return report

    if not watch:
        one_round()
        return
    with wake_up_calls(listen) if listen else nullcontext() as wake:
        for _ in watch_rounds(one_round, Schedule(every_s=every * 3600), wake):
            pass
