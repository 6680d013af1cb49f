"""One round of the loop: collect, snapshot, fine-tune, compare, promote if better, report.

A round is named after its champion, its data and its settings. Started again after an interruption it is the same
round and goes on; started again after its end there is nothing new to learn from, and nothing happens.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from clickpose.annotations import AnnotationSet
from clickpose.errors import ClickPoseError
from pipeline.compare import Compare, Comparison, compare_in_clicks
from pipeline.dataset import PictureFolder, coco_bytes
from pipeline.gate import Verdict
from pipeline.mixture import DataSource
from pipeline.registry import MODELS, Registry
from pipeline.replay import sample_sources, weigh
from pipeline.round_plan import Collected, RetrainConfig, Round, plan_round
from pipeline.round_report import RoundReport, write_report
from pipeline.store import Store
from pipeline.train import TrainJob, train

__all__ = ["Collected", "RetrainConfig", "RoundReport", "retrain", "watch"]

logger = logging.getLogger(__name__)

RUNS = "runs"


def retrain(
    store: Store,
    collect: Callable[[], Collected],
    config: RetrainConfig,
    *,
    compare: Compare = compare_in_clicks,
) -> RoundReport:
    """Run one round.

    Args:
        store: holds models, snapshots and reports.
        collect: gives all annotations there are, e.g. from Label Studio.
        config: how the round is run.
        compare: decides whether the challenger is better than the champion.

    Returns:
        How it ended. ``challenger`` is None if too little was new: then nothing was written but the snapshot.

    Raises:
        StoreError: no model is current.
        InvalidAnnotation: there is nobody to learn from.
        ClickPoseError: training failed; run again to go on.
    """
    registry = Registry(store)
    this = plan_round(store, collect(), config)
    if this.num_new < config.min_new_pictures:
        reason = f"{this.num_new} images are new since the last round, {config.min_new_pictures} are needed"
        return _report(this, config, None, Comparison({}, {}, Verdict(False, reason)))
    with tempfile.TemporaryDirectory() as folder:
        challenger = fine_tune(store, this, config, Path(folder) / "challenger")
        champion = registry.fetch(this.champion)
        comparison = compare(champion, challenger, this.held_back, PictureFolder(config.images), config.rule)
        _write_metrics(challenger, comparison)
        version = registry.add(challenger, parent=this.champion)
    if comparison.verdict.is_better:
        registry.promote(version)
    report = _report(this, config, version, comparison)
    write_report(store, report)
    store.delete(f"{RUNS}/{this.name}")
    return report


def watch(run_round: Callable[[], RoundReport], *, every_s: float) -> Iterator[RoundReport]:
    """Yield a round's report every ``every_s`` seconds, for ever; a round that fails is logged and tried again."""
    while True:
        try:
            yield run_round()
        except ClickPoseError as error:
            logger.error("this round failed: %s", error)
        time.sleep(every_s)


def fine_tune(store: Store, this: Round, config: RetrainConfig, out: Path) -> Path:
    """Train the challenger from the champion on what is not held back, and return its folder.

    The run is kept in the store under the round's name, so that it goes on where it was interrupted.
    """
    run = f"{RUNS}/{this.name}"
    job = TrainJob(
        start=store.uri_of(f"{MODELS}/{this.champion}"),
        data=training_data(store, this, config),
        config=config.training,
    )
    train(job, out, run=store.uri_of(run), num_workers=config.num_workers)
    return out


def training_data(store: Store, this: Round, config: RetrainConfig) -> tuple[DataSource, ...]:
    """Write what is new and what is old, and return them with everything else that is replayed."""
    new, old = (
        _write_source(store, f"{RUNS}/{this.name}/{name}.json", annotations, config.images)
        for name, annotations in (("new", this.new), ("old", this.old))
    )
    if not config.replay_share:
        return (new,)
    return weigh(new, [old, *sample_sources(store, this.champion), *config.replay], config.replay_share)


def _write_source(store: Store, name: str, annotations: AnnotationSet, images: str) -> DataSource:
    store.write_bytes(name, coco_bytes(annotations))
    return DataSource(store.uri_of(name), images)


def _write_metrics(challenger: Path, comparison: Comparison) -> None:
    """Let the challenger's own folder say what was measured on the held-back pictures."""
    file = challenger / "metrics.json"
    held_back = {f"held_back/{name}": value for name, value in comparison.challenger.items()}
    file.write_text(json.dumps(json.loads(file.read_text()) | held_back, indent=2) + "\n")


def _report(this: Round, config: RetrainConfig, version: str | None, comparison: Comparison) -> RoundReport:
    return RoundReport(
        round=this.name,
        parent=this.champion,
        challenger=version,
        snapshot=this.snapshot.id,
        promoted=version is not None and comparison.verdict.is_better,
        reason=comparison.verdict.reason,
        parent_metrics=comparison.champion,
        challenger_metrics=comparison.challenger,
        num_trained=len(this.new) + len(this.old),
        num_held_back=len(this.held_back.annotations),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        num_gold=len(this.held_back.gold),
        rule=config.rule,
        checks=comparison.verdict.checks,
        images=config.images,
    )
