"""Which files of a store are still needed: for rollbacks, for the next round, and for reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from integrations.store import MODELS, record_of
from pipeline.registry import Registry
from pipeline.round_report import all_reports
from pipeline.snapshot import SNAPSHOTS, current_snapshot
from pipeline.store import Store
from pipeline.sweep import LAST_FILES, leftovers

PRELABELS = "prelabels"


@dataclass(frozen=True)
class Pruned:
    """A file or folder that is not needed: its name in the store, its size, and the reason."""

    name: str
    num_bytes: int
    reason: str


def find_unneeded(store: Store) -> list[Pruned]:
    """Return what can be deleted, under the store's lease.

    Kept are: every model that was ever promoted, added by hand, or is an ancestor of one that is kept; the snapshots
    of reports, and the current one; all reports. Not needed are challengers that were rejected, snapshots between
    rounds, predictions of deleted models, and leftovers of interrupted writers.
    """
    kept = _kept_versions(Registry(store))
    snapshots = {report.snapshot for report in all_reports(store)} | {current_snapshot(store)} | _open_snapshots(store)
    reasons = {name: "left by an interrupted writer" for name in leftovers(store)}
    for version in Registry(store).versions():
        if version not in kept:
            reasons[f"{MODELS}/{version}"] = "a challenger that was never promoted"
    for snapshot in store.folders(SNAPSHOTS):
        if snapshot not in snapshots:
            reasons.setdefault(f"{SNAPSHOTS}/{snapshot}", "no report uses this snapshot")
    for run in store.folders(PRELABELS):
        version = run.removesuffix("-anew")
        if run.endswith("-anew") and version not in kept:
            reasons[f"{PRELABELS}/{run}"] = f"predictions of {version}, which was deleted"
    return [Pruned(name, store.num_bytes(name), reason) for name, reason in reasons.items()]


def delete_all(store: Store, unneeded: Iterable[Pruned]) -> None:
    """Delete what is not needed; of a folder, the file that makes it complete is deleted first."""
    for one in unneeded:
        folder, _, name = one.name.partition("/")
        if name and folder in LAST_FILES:
            store.delete(f"{one.name}/{LAST_FILES[folder]}")
        store.delete(one.name)


def _kept_versions(registry: Registry) -> set[str]:
    """Versions that were promoted or added by hand, with the models they descend from."""
    promoted = {event["version"] for event in registry.history()} | {registry.current()}
    records = {version: registry.store.read_json(record_of(version)) for version in registry.versions()}
    kept: set[str] = set()
    for version, record in records.items():
        wanted = version if version in promoted or not record.get("made_by") else None
        while wanted in records and wanted not in kept:
            kept.add(wanted)
            wanted = records[wanted]["parent"]
    return kept


def _open_snapshots(store: Store) -> set[str]:
    """Snapshots of rounds that are not finished."""
    rounds = [f"runs/{name}/round.json" for name in store.folders("runs")]
    return {store.read_json(file)["snapshot"] for file in rounds if store.exists(file)}
