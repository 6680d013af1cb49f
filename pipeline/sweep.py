"""What interrupted writers left in a store: folders without the file that is written last."""

from __future__ import annotations

from pipeline.store import Store

# in each of these, a subfolder counts only with that file
LAST_FILES = {"models": "record.json", "annotations": "manifest.json", "reports": "report.json", "runs": "round.json"}


def sweep(store: Store) -> list[str]:
    """Delete what interrupted writers left, and return the names of the folders; call it under the store's lease."""
    left = [
        f"{folder}/{name}"
        for folder, last in LAST_FILES.items()
        for name in store.folders(folder)
        if not store.exists(f"{folder}/{name}/{last}")
    ]
    for name in left:
        store.delete(name)
    return left
