"""One round of the loop: collect, snapshot, fine-tune, compare, promote if better, report.

A round is named after its champion, its data and its settings. Started again after an interruption it is the same
round and goes on; started again after its end there is nothing new to learn from, and nothing happens.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import ClickPoseError, StoreError
from clickpose.training.config import TrainConfig
from integrations.label_studio.provenance import KeypointRecord
from pipeline.compare import Compare, Comparison, compare_in_clicks
from pipeline.dataset import PictureFolder, coco_bytes
from pipeline.registry import MODELS, Registry
from pipeline.round_report import RoundReport, latest_report, write_report
from pipeline.snapshot import HELD_BACK_SHARE, Snapshot, load_snapshot, split, take_snapshot
from pipeline.store import Store
from pipeline.train import TrainJob, train

__all__ = ["Collected", "RetrainConfig", "RoundReport", "retrain", "watch"]

logger = logging.getLogger(__name__)

RUNS = "runs"


@dataclass(frozen=True)
class Collected:
    """All annotations there are now, how each keypoint came about, and a sentence for each that could not be read."""

    annotations: AnnotationSet
    provenance: Sequence[KeypointRecord] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class RetrainConfig:
    """How a round is run.

    Attributes:
        images: folder or URI that the annotations' file names are relative to.
        training: how the challenger is fine-tuned.
        held_back_share: share of pictures in [0, 1] that is compared on and never trained on.
        min_new_pictures: pictures that must be new or annotated anew since the last round.
        num_workers: Ray workers that train; 0 for this process.
    """

    images: str
    training: TrainConfig
    held_back_share: float = HELD_BACK_SHARE
    min_new_pictures: int = 1
    num_workers: int = 0


@dataclass(frozen=True)
class Round:
    """A round before it is run: who is challenged, on which data."""

    name: str
    champion: str
    snapshot: Snapshot
    train_set: AnnotationSet
    held_back: AnnotationSet
    num_new: int


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
    this = plan_round(store, registry, collect(), config)
    if this.num_new < config.min_new_pictures:
        reason = f"{this.num_new} pictures are new since the last round, {config.min_new_pictures} are needed"
        return _report(this, None, Comparison({}, {}, False, reason))
    with tempfile.TemporaryDirectory() as folder:
        challenger = fine_tune(store, this, config, Path(folder) / "challenger")
        champion = registry.fetch(this.champion)
        comparison = compare(champion, challenger, this.held_back, PictureFolder(config.images))
        _write_metrics(challenger, comparison)
        version = registry.add(challenger, parent=this.champion)
    if comparison.is_better:
        registry.promote(version)
    report = _report(this, version, comparison)
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


def plan_round(store: Store, registry: Registry, collected: Collected, config: RetrainConfig) -> Round:
    """Freeze the data of a round and name it.

    Raises:
        StoreError: no model is current.
    """
    champion = registry.current()
    if champion is None:
        raise StoreError(f"{store.uri} has no current model to start from: add one and promote it")
    snapshot = take_snapshot(store, collected.annotations, collected.provenance)
    train_set, held_back = split(snapshot.annotations, config.held_back_share)
    settings = hashlib.sha256(json.dumps(asdict(config)).encode()).hexdigest()[:6]
    name = f"{champion}_{snapshot.id}_{settings}"
    return Round(name, champion, snapshot, train_set, held_back, _count_new(store, snapshot))


def fine_tune(store: Store, this: Round, config: RetrainConfig, out: Path) -> Path:
    """Train the challenger from the champion on what is not held back, and return its folder.

    The run is kept in the store under the round's name, so that it goes on where it was interrupted.
    """
    run = f"{RUNS}/{this.name}"
    store.write_bytes(f"{run}/train.json", coco_bytes(this.train_set))
    job = TrainJob(
        start=store.uri_of(f"{MODELS}/{this.champion}"),
        annotations=store.uri_of(f"{run}/train.json"),
        images=config.images,
        config=config.training,
    )
    train(job, out, run=store.uri_of(run), num_workers=config.num_workers)
    return out


def _count_new(store: Store, snapshot: Snapshot) -> int:
    """Pictures that are new or annotated anew since the latest round that was finished."""
    latest = latest_report(store)
    known = (
        load_snapshot(store, latest.snapshot).annotations if latest else AnnotationSet(snapshot.annotations.skeleton)
    )
    seen = {_content_of(image) for image in known.images}
    return sum(_content_of(image) not in seen for image in snapshot.annotations.images)


def _content_of(image: AnnotatedImage) -> tuple[object, ...]:
    persons = ((p.id, p.keypoints_px.tobytes(), p.visibility.tobytes(), p.is_crowd) for p in image.persons)
    return (image.file_name, *persons)


def _write_metrics(challenger: Path, comparison: Comparison) -> None:
    """Let the challenger's own folder say what was measured on the held-back pictures."""
    file = challenger / "metrics.json"
    held_back = {f"held_back/{name}": value for name, value in comparison.challenger.items()}
    file.write_text(json.dumps(json.loads(file.read_text()) | held_back, indent=2) + "\n")


def _report(this: Round, version: str | None, comparison: Comparison) -> RoundReport:
    return RoundReport(
        round=this.name,
        parent=this.champion,
        challenger=version,
        snapshot=this.snapshot.id,
        promoted=version is not None and comparison.is_better,
        reason=comparison.reason,
        parent_metrics=comparison.champion,
        challenger_metrics=comparison.challenger,
        num_trained=len(this.train_set),
        num_held_back=len(this.held_back),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
