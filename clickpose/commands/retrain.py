"""``clickpose retrain``: one round from annotations to, perhaps, a new model; or rounds until Ctrl-C."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.commands.options import takes
from clickpose.commands.output import JsonFile, write_json
from clickpose.commands.recipes import RecipeOptions
from clickpose.commands.workers import WorkerOptions
from integrations.label_studio.policy import Policy

if TYPE_CHECKING:
    from clickpose.training.config import TrainConfig
    from pipeline.retrain import RetrainConfig
    from pipeline.round_report import RoundReport
    from pipeline.store import Store


@dataclass(frozen=True)
class ReplayOptions:
    """What is trained on again besides new annotations."""

    replay: Annotated[
        list[str] | None,
        typer.Option(help="COCO file of further data that the champion learned from, as path or URI; may be repeated."),
    ] = None
    replay_images: Annotated[
        list[str] | None, typer.Option(help="Folder of its images, if not that of the file; may be repeated.")
    ] = None
    replay_share: Annotated[
        float, typer.Option(help="Share of the training that repeats what the champion learned from.")
    ] = 0.5


@dataclass(frozen=True)
class WatchOptions:
    """Whether rounds are repeated, and when."""

    watch: Annotated[bool, typer.Option("--watch", help="Run rounds until Ctrl-C, also after one fails.")] = False
    every: Annotated[float, typer.Option(help="With --watch: hours after which a round runs with whatever is new.")] = (
        24.0
    )
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="With --watch: address that webhooks are sent to.")
    ] = None


@dataclass(frozen=True)
class RetrainOptions:
    """What a round collects, trains on and requires."""

    store: Annotated[str, typer.Option(help="Store of models, snapshots and reports.")]
    url: Annotated[str, typer.Option(help="URL of Label Studio; its token is read from LABEL_STUDIO_TOKEN.")]
    title: Annotated[str, typer.Option(help="Title of the project.")]
    images: Annotated[
        str | None,
        typer.Option(help="Folder or URI that was pre-labelled; by default images come from Label Studio."),
    ] = None
    recipe: RecipeOptions = field(default_factory=RecipeOptions)
    held_back_share: Annotated[float, typer.Option(help="Share of images to compare on.")] = 0.2
    min_new_pictures: Annotated[
        int, typer.Option("--min-new-images", "--min-new-pictures", help="Newly annotated images that a round needs.")
    ] = 20
    min_persons: Annotated[int, typer.Option(help="Persons to compare on; with fewer the champion stays.")] = 30
    replay: ReplayOptions = field(default_factory=ReplayOptions)
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    policy: Annotated[Policy, typer.Option(help="Which of several annotations of one task is used.")] = Policy.latest
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Use an annotation that was set aside, by its id in the report; may be repeated."
        ),
    ] = None
    repeat: WatchOptions = field(default_factory=WatchOptions)
    json: JsonFile = None

    def config(self, store: Store) -> RetrainConfig:
        """Return how a round is run.

        Raises:
            InvalidConfig: a setting is unknown or out of range.
        """
        from clickpose.commands.data_sources import data_sources
        from pipeline.dataset import FETCHED
        from pipeline.gate import GateRule
        from pipeline.retrain import RetrainConfig

        return RetrainConfig(
            images="\n".join([*([self.images] if self.images else []), store.uri_of(FETCHED)]),
            training=self._training(store),
            held_back_share=self.held_back_share,
            min_new_pictures=self.min_new_pictures,
            num_workers=self.workers.workers,
            max_failures=self.workers.max_failures,
            gpus_per_worker=self.workers.gpus_per_worker,
            rule=GateRule(min_persons=self.min_persons),
            replay=data_sources(self.replay.replay or (), self.replay.replay_images or ()),
            replay_share=self.replay.replay_share,
        )

    def _training(self, store: Store) -> TrainConfig:
        from clickpose.checkpoints.files import CONFIG
        from clickpose.training.config import fine_tuning_for
        from integrations.store import MODELS
        from pipeline.registry import Registry

        champion = Registry(store).current()
        model_config = store.read_json(f"{MODELS}/{champion}/{CONFIG}") if champion else {}
        once = [] if "form" in model_config else ["scenes_per_epoch=none"]  # the published form sees each image once
        return self.recipe.settings(fine_tuning_for(model_config), *once)


@takes(RetrainOptions)
def retrain(options: RetrainOptions) -> None:
    """Collect, snapshot, fine-tune, compare in clicks, promote if better; run it again to resume.

    With --watch, a round runs when --min-new-images are new, or whatever is new after --every hours. Annotations are
    looked at every ten minutes, and at once when a webhook arrives: start clickpose serve with --forward-webhooks-to
    http://HOST:PORT, the address of --listen.
    """
    from pipeline.set_aside import accept
    from pipeline.store import Store
    from pipeline.watch import Schedule, wake_up_calls, watch

    store = Store(options.store)
    config = options.config(store)
    if options.accept:
        accept(store, options.accept)
    if not options.repeat.watch:
        run_round(options, store, config)
        return
    listen = options.repeat.listen
    with wake_up_calls(listen) if listen else nullcontext() as wake:

        def one_round(is_due: bool) -> RoundReport:
            return run_round(options, store, dataclasses.replace(config, min_new_pictures=1) if is_due else config)

        for _ in watch(one_round, Schedule(every_s=options.repeat.every * 3600), wake):
            pass


def run_round(options: RetrainOptions, store: Store, config: RetrainConfig) -> RoundReport:
    """Run one round, and say how it ended."""
    from clickpose.commands.collecting import Project, collect
    from clickpose.commands.predict_again import predict_again
    from pipeline.registry import Registry
    from pipeline.retrain import retrain as retrain_once

    registry = Registry(store)
    model = registry.fetch(registry.champion())
    project = Project(options.url, options.title, options.images or "")
    predicted = dataclasses.replace(project, images=config.images)
    report = retrain_once(
        store,
        lambda: collect(project, model, store, fetch=True, policy=options.policy),
        config,
        on_promoted=lambda version: predict_again(predicted, store, version, num_workers=config.num_workers),
    )
    typer.echo(f"{report.challenger or 'no challenger'}: {report.reason}")
    write_json(options.json, report.to_dict())
    return report
