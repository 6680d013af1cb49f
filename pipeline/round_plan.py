"""The plan of a round: which champion is challenged, on which data, and what both are compared on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import InvalidConfig
from clickpose.training.config import TrainConfig
from integrations.label_studio.provenance import KeypointRecord
from pipeline.compare import HeldBack
from pipeline.dataset import ImageFolder
from pipeline.gate import GateRule
from pipeline.gold import named_gold
from pipeline.mixture import DataSource
from pipeline.registry import Registry
from pipeline.replay import remember
from pipeline.round_report import RoundReport, latest_report, reports_by_challenger
from pipeline.set_aside import (
    Judge,
    SetAside,
    annotators_of,
    content_of,
    find_set_aside,
    judge_by_champion,
    looked_at,
    set_aside,
)
from pipeline.snapshot import HELD_BACK_SHARE, Snapshot, load_snapshot, split, take_snapshot
from pipeline.store import Store

MAX_TRUSTED = 50  # images on which the champion's own rate of swapped sides is measured


@dataclass(frozen=True)
class Collected:
    """All current annotations, the origin of each keypoint, and a sentence for each one that could not be read."""

    annotations: AnnotationSet
    provenance: Sequence[KeypointRecord] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class RetrainConfig:
    """How a round is run.

    Attributes:
        images: folder or URI that the annotations' file names are relative to; several are separated by newlines.
        training: how the challenger is fine-tuned.
        held_back_share: share of images in [0, 1] that is compared on and never trained on, gold images apart.
        min_new_pictures: images that must be new or changed since the last round.
        num_workers: Ray workers that train; 0 for this process.
        max_failures: crashes of a worker after which the round fails.
        gpus_per_worker: None for one if the cluster has any or could start some.
        rule: what is required of the challenger.
        replay: further data to replay; the champion's own data, if the store has it, is always replayed.
        replay_share: share in [0, 1) of every epoch that is replayed.

    Raises:
        InvalidConfig: ``replay_share`` is outside its range.
    """

    images: str
    training: TrainConfig
    held_back_share: float = HELD_BACK_SHARE
    min_new_pictures: int = 1
    num_workers: int = 0
    max_failures: int = 3
    gpus_per_worker: float | None = None
    rule: GateRule = field(default_factory=GateRule)
    replay: tuple[DataSource, ...] = ()
    replay_share: float = 0.5

    def __post_init__(self) -> None:
        """Refuse epochs without anything new."""
        if not 0 <= self.replay_share < 1:
            raise InvalidConfig(f"replay_share is {self.replay_share}, must be in [0, 1)")


@dataclass(frozen=True)
class RoundPlan:
    """A round that has not run yet.

    Attributes:
        name: derived from champion, data and settings, so that the same round has the same name.
        champion: the version that is challenged.
        snapshot: the data.
        new: annotations that the champion was not trained on.
        old: annotations that it was trained on, if the store has them.
        held_back: what both models are compared on.
        newest: file names of images that are new or changed since the last finished round, without those set aside.
        set_aside: annotations of the snapshot that are not used.
        left_out: a sentence for each that could not be read, and is not in the snapshot.
    """

    name: str
    champion: str
    snapshot: Snapshot
    new: AnnotationSet
    old: AnnotationSet
    held_back: HeldBack
    newest: frozenset[str]
    set_aside: tuple[SetAside, ...] = ()
    left_out: tuple[str, ...] = ()


def plan_round(
    store: Store, collected: Collected, config: RetrainConfig, judge: Judge = judge_by_champion
) -> RoundPlan:
    """Freeze the data of a round, set aside what looks wrong, and name the round.

    Raises:
        StoreError: no model is current.
        ImageError: an image cannot be read.
    """
    champion = Registry(store).champion()
    snapshot = take_snapshot(store, collected.annotations, collected.provenance)
    newest = changed_since(store, latest_report(store), snapshot.annotations)
    _set_suspicious_aside(store, champion, snapshot, newest, config, judge)
    aside = find_set_aside(store, snapshot.annotations)
    unused = {entry.file_name for entry in aside}

    known = remember(store, champion, snapshot.annotations, config.images)
    named = named_gold(store)
    used = only(known, lambda image: image.file_name not in unused)
    train_set, held_back = split(used, config.held_back_share, named)
    unlearned = changed_since(store, reports_by_challenger(store).get(champion), snapshot.annotations)
    gold = named or {image.file_name for image in held_back.images} - newest
    return RoundPlan(
        name=f"{champion}_{snapshot.id}_{settings_digest(store, config)}",
        champion=champion,
        snapshot=snapshot,
        new=only(train_set, lambda image: image.file_name in unlearned),
        old=only(train_set, lambda image: image.file_name not in unlearned),
        held_back=HeldBack(held_back, frozenset(gold)),
        newest=frozenset(newest - unused),
        set_aside=tuple(aside),
        left_out=tuple(collected.left_out),
    )


def changed_since(store: Store, report: RoundReport | None, annotations: AnnotationSet) -> set[str]:
    """Return the file names of images that are new, changed or accepted since a round; all if there was none."""
    known = load_snapshot(store, report.snapshot).annotations.images if report else ()
    unused = {entry.content for entry in report.set_aside} if report else set()
    seen = {content_of(image) for image in known} - unused
    return {image.file_name for image in annotations.images if content_of(image) not in seen}


def only(annotations: AnnotationSet, is_wanted: Callable[[AnnotatedImage], bool]) -> AnnotationSet:
    """Return some images of a data set."""
    return replace(annotations, images=tuple(filter(is_wanted, annotations.images)))


def _set_suspicious_aside(
    store: Store, champion: str, snapshot: Snapshot, newest: set[str], config: RetrainConfig, judge: Judge
) -> None:
    """Check annotations that were not checked before, if they are enough for a round."""
    annotations, records = snapshot.annotations, snapshot.provenance
    fresh = newest - looked_at(store, annotations)
    if not fresh or len(fresh) < config.min_new_pictures:
        return
    unseen = split(annotations, config.held_back_share, named_gold(store))[1]
    trusted = only(unseen, lambda image: image.file_name not in newest)
    suspicions = judge(
        Registry(store).fetch(champion),
        only(annotations, lambda image: image.file_name in fresh),
        annotators_of(annotations, records),
        replace(trusted, images=trusted.images[-MAX_TRUSTED:]),
        ImageFolder(config.images),
    )
    set_aside(store, suspicions, annotations, records)


def settings_digest(store: Store, config: RetrainConfig) -> str:
    """Return a short hash of everything that decides how a round ends, except champion and annotations."""
    settings = asdict(config)
    del settings["min_new_pictures"]  # whether a round begins; under a schedule it differs from call to call
    return hashlib.sha256(json.dumps([settings, sorted(named_gold(store))]).encode()).hexdigest()[:6]
