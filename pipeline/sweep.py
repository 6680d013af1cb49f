"""Leftovers of interrupted writers in a store: folders without the file that is written last."""

from __future__ import annotations

from pipeline.store import Store

# in each of these, a subfolder is complete only with that file
LAST_FILES = {"models": "record.json", "annotations": "manifest.json", "reports": "report.json", "runs": "round.json"}


def leftovers(store: Store) -> list[str]:
    """Return the names of leftovers of interrupted writers; call it under the store's lease."""
    return [
        f"{folder}/{name}"
        for folder, last in LAST_FILES.items()
        for name in store.folders(folder)
        if not store.exists(f"{folder}/{name}/{last}")
    ]


def sweep(store: Store) -> None:
    """Delete the leftovers of interrupted writers; call it under the store's lease."""
    for name in leftovers(store):
        store.delete(name)
