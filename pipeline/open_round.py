"""A round on disk while it is running, so that another process can finish it after a crash.

runs/<round>/round.json        champion, snapshot and file names; with it the round is open
runs/<round>/data.json         what is trained on, with weights
runs/<round>/comparison.json   the verdict, once both models were compared
runs/<round>/...               the training run
"""

from __future__ import annotations

import logging
from dataclasses import asdict

from clickpose.annotations import AnnotationSet
from pipeline.compare import Comparison, HeldBack, ImageClicks
from pipeline.gate import Verdict
from pipeline.mixture import DataSource
from pipeline.replay import remember
from pipeline.round_plan import RetrainConfig, RoundPlan, only, settings_digest
from pipeline.set_aside import SetAside
from pipeline.snapshot import load_snapshot
from pipeline.store import Store

logger = logging.getLogger(__name__)

RUNS, ROUND, DATA, COMPARISON = "runs", "round.json", "data.json", "comparison.json"


def folder_of(plan: RoundPlan) -> str:
    """Return the folder of a round in the store."""
    return f"{RUNS}/{plan.name}"


def open_round(store: Store, plan: RoundPlan) -> None:
    """Save a round before it is started."""
    values = {
        "champion": plan.champion,
        "snapshot": plan.snapshot.id,
        "newest": sorted(plan.newest),
        "new": _names(plan.new),
        "old": _names(plan.old),
        "held_back": _names(plan.held_back.annotations),
        "gold": sorted(plan.held_back.gold),
        "set_aside": [asdict(entry) for entry in plan.set_aside],
    }
    store.write_json(f"{folder_of(plan)}/{ROUND}", values)


def unfinished_round(store: Store, config: RetrainConfig) -> RoundPlan | None:
    """Return the round that was interrupted, if there is one to finish.

    A round that was started with other settings is dropped, unless its models were already compared.
    """
    for name in store.names(RUNS):
        if not store.exists(f"{RUNS}/{name}/{ROUND}"):
            continue
        is_same = name.endswith(f"_{settings_digest(store, config)}")
        if is_same or store.exists(f"{RUNS}/{name}/{COMPARISON}"):
            return _read_round(store, name, config)
        logger.warning("round %s was interrupted and started with other settings: it is dropped", name)
        _delete(store, name)
    return None


def close_round(store: Store, plan: RoundPlan) -> None:
    """Delete the files of a finished round; its report stays."""
    _delete(store, plan.name)


def keep_data(store: Store, plan: RoundPlan, data: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
    """Save what a round trains on, and return it."""
    store.write_json(f"{folder_of(plan)}/{DATA}", [asdict(source) for source in data])
    return data


def kept_data(store: Store, plan: RoundPlan) -> tuple[DataSource, ...] | None:
    """Return what a round trains on, or None if it was not saved yet."""
    file = f"{folder_of(plan)}/{DATA}"
    return tuple(DataSource(**source) for source in store.read_json(file)) if store.exists(file) else None


def keep_comparison(store: Store, plan: RoundPlan, comparison: Comparison) -> Comparison:
    """Save a round's verdict, and return it."""
    store.write_json(f"{folder_of(plan)}/{COMPARISON}", asdict(comparison))
    return comparison


def kept_comparison(store: Store, plan: RoundPlan) -> Comparison | None:
    """Return a round's verdict, or None if it was not saved yet."""
    file = f"{folder_of(plan)}/{COMPARISON}"
    if not store.exists(file):
        return None
    values = store.read_json(file)
    by_image = tuple(ImageClicks(**one) for one in values["by_image"])
    return Comparison(values["champion"], values["challenger"], Verdict.from_dict(values["verdict"]), by_image)


def _read_round(store: Store, name: str, config: RetrainConfig) -> RoundPlan:
    values = store.read_json(f"{RUNS}/{name}/{ROUND}")
    snapshot = load_snapshot(store, values["snapshot"])
    known = remember(store, values["champion"], snapshot.annotations, config.images)
    new, old, held_back = (_pick(known, set(values[part])) for part in ("new", "old", "held_back"))
    aside = tuple(SetAside(**entry) for entry in values["set_aside"])
    compared_on = HeldBack(held_back, frozenset(values["gold"]))
    return RoundPlan(name, values["champion"], snapshot, new, old, compared_on, frozenset(values["newest"]), aside)


def _delete(store: Store, name: str) -> None:
    store.delete(f"{RUNS}/{name}/{ROUND}")  # first, so that a half-deleted folder is not an open round
    store.delete(f"{RUNS}/{name}")


def _names(annotations: AnnotationSet) -> list[str]:
    return [image.file_name for image in annotations.images]


def _pick(annotations: AnnotationSet, names: set[str]) -> AnnotationSet:
    return only(annotations, lambda image: image.file_name in names)
