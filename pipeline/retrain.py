"""One round of the loop: collect, snapshot, fine-tune, compare, promote if better, report.

A round can be interrupted anywhere: the next call finishes it and does nothing twice. After its end, another call finds
nothing new and does nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from clickpose.annotations import AnnotationSet
from clickpose.checkpoints.files import METRICS
from integrations.store import MODELS
from pipeline.compare import Compare, Comparison, compare_in_clicks
from pipeline.dataset import ImageFolder, coco_bytes
from pipeline.gate import Verdict
from pipeline.lease import lease
from pipeline.mixture import DataSource
from pipeline.open_round import (
    close_round,
    folder_of,
    keep_comparison,
    keep_data,
    kept_comparison,
    kept_data,
    open_round,
    unfinished_round,
)
from pipeline.registry import Registry
from pipeline.replay import sample_sources, weigh
from pipeline.round_plan import Collected, RetrainConfig, RoundPlan, plan_round
from pipeline.round_report import RoundReport, write_report
from pipeline.set_aside import Judge, judge_by_champion
from pipeline.store import Store
from pipeline.sweep import sweep
from pipeline.train import TrainJob, train

__all__ = ["Collected", "RetrainConfig", "RoundReport", "retrain"]


def retrain(
    store: Store,
    collect: Callable[[], Collected],
    config: RetrainConfig,
    *,
    compare: Compare = compare_in_clicks,
    judge: Judge = judge_by_champion,
    on_promoted: Callable[[str], object] = lambda version: None,
) -> RoundReport:
    """Run one round, or finish the one that was interrupted.

    Args:
        store: holds models, snapshots and reports.
        collect: returns all annotations, e.g. from Label Studio.
        config: how the round is run.
        compare: decides whether the challenger is better than the champion.
        judge: finds new annotations that look wrong; they are set aside.
        on_promoted: called with the new version as the last step, e.g. to update the predictions of images without
            an annotation; after an interruption it is called again.

    Returns:
        How it ended. ``challenger`` is None if too little was new: then nothing was written but the snapshot.

    Raises:
        StoreInUse: another process is writing to the store.
        StoreError: no model is current.
        ClickPoseError: training failed; run again to resume.
    """
    with lease(store, "retraining") as check_lease:
        sweep(store)
        plan = unfinished_round(store, config)
        if plan is None:
            plan = plan_round(store, collect(), config, judge)
            if reason := _too_little(plan, config):
                return _report(plan, config, None, Comparison({}, {}, Verdict(False, reason)), promoted=False)
            open_round(store, plan)
        version, comparison = challenge(store, plan, config, compare)
        check_lease()
        promoted = comparison.verdict.is_better and Registry(store).promote_over(plan.champion, version)
        report = _report(plan, config, version, comparison, promoted=promoted)
        write_report(store, report)
        if promoted:
            on_promoted(version)
        close_round(store, plan)
    return report


def _too_little(plan: RoundPlan, config: RetrainConfig) -> str:
    """Return why there is not enough to learn from, or nothing."""
    if len(plan.newest) < config.min_new_pictures:
        reason = f"{len(plan.newest)} images are new since the last round, {config.min_new_pictures} are needed"
        return reason + (f"; {len(plan.set_aside)} annotations are set aside" if plan.set_aside else "")
    if not plan.new.num_persons:
        held_back = sum(image.file_name in plan.newest for image in plan.held_back.annotations.images)
        return (
            f"there is no person to train on: of {len(plan.newest)} new images {held_back} are held back for the"
            " comparison, and the others have no labelled person; annotate at least 1 more"
        )
    return ""


def challenge(store: Store, plan: RoundPlan, config: RetrainConfig, compare: Compare) -> tuple[str, Comparison]:
    """Train a challenger, compare it with the champion and add it to the registry; finished steps are not repeated."""
    registry = Registry(store)
    version, comparison = registry.version_made_by(plan.name), kept_comparison(store, plan)
    if version is not None and comparison is not None:
        return version, comparison
    with tempfile.TemporaryDirectory() as folder:
        challenger = fine_tune(store, plan, config, Path(folder) / "challenger")
        if comparison is None:
            champion, images = registry.fetch(plan.champion), ImageFolder(config.images)
            comparison = compare(champion, challenger, plan.held_back, images, config.rule)
            keep_comparison(store, plan, comparison)
        _write_metrics(challenger, comparison)
        return registry.add(challenger, parent=plan.champion, made_by=plan.name), comparison


def fine_tune(store: Store, plan: RoundPlan, config: RetrainConfig, out: Path) -> Path:
    """Train the challenger from the champion on what is not held back, and return its folder.

    The run is kept in the store under the round's name, so that it can resume.
    """
    data = kept_data(store, plan) or keep_data(store, plan, training_data(store, plan, config))
    job = TrainJob(start=store.uri_of(f"{MODELS}/{plan.champion}"), data=data, config=config.training)
    train(
        job,
        out,
        run=store.uri_of(folder_of(plan)),
        num_workers=config.num_workers,
        max_failures=config.max_failures,
        gpus_per_worker=config.gpus_per_worker,
    )
    return out


def training_data(store: Store, plan: RoundPlan, config: RetrainConfig) -> tuple[DataSource, ...]:
    """Write what is new and what is old, and return them with everything else that is replayed."""
    new, old = (
        _write_source(store, f"{folder_of(plan)}/{name}.json", annotations, config.images)
        for name, annotations in (("new", plan.new), ("old", plan.old))
    )
    if not config.replay_share:
        return (new,)
    return weigh(new, [old, *sample_sources(store, plan.champion), *config.replay], config.replay_share)


def _write_source(store: Store, name: str, annotations: AnnotationSet, images: str) -> DataSource:
    store.write_bytes(name, coco_bytes(annotations))
    return DataSource(store.uri_of(name), images)


def _write_metrics(challenger: Path, comparison: Comparison) -> None:
    """Let the challenger's own folder say what was measured on the held-back images."""
    file = challenger / METRICS
    held_back = {f"held_back/{name}": value for name, value in comparison.challenger.items()}
    file.write_text(json.dumps(json.loads(file.read_text()) | held_back, indent=2) + "\n")


def _report(
    plan: RoundPlan, config: RetrainConfig, version: str | None, comparison: Comparison, *, promoted: bool
) -> RoundReport:
    reason = comparison.verdict.reason
    if comparison.verdict.is_better and not promoted:
        reason += "; but another version was promoted or rolled back meanwhile"
    return RoundReport(
        round=plan.name,
        parent=plan.champion,
        challenger=version,
        snapshot=plan.snapshot.id,
        promoted=promoted,
        reason=reason,
        parent_metrics=comparison.champion,
        challenger_metrics=comparison.challenger,
        num_trained=len(plan.new) + len(plan.old),
        num_held_back=len(plan.held_back.annotations),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        num_gold=len(plan.held_back.gold),
        rule=config.rule,
        checks=comparison.verdict.checks,
        images=config.images,
        set_aside=plan.set_aside,
        left_out=plan.left_out,
        by_image=comparison.by_image,
        newest=tuple(sorted(plan.newest)),
    )
