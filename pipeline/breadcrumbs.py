"""Which image crashed a worker: noted outside the worker, so that one image does not crash worker after worker.

Ray gives the shard of a crashed worker to another worker, again and again. A shard therefore leaves a crumb when work
on it begins. A worker that finds one knows that another crashed on this shard, and notes each image before opening it;
the next worker skips the noted image and lists it as failed.
"""

from __future__ import annotations

from typing import Any

from pipeline.store import Store

CRUMBS = ".attempts"


class Breadcrumbs:
    """The crumbs of one shard. Use as ``with Breadcrumbs(store, shard) as crumbs``; success removes them."""

    def __init__(self, store: Store, shard: str) -> None:
        self.store, self.name = store, f"{CRUMBS}/{shard}.json"
        self.is_careful = store.exists(self.name)
        left: dict[str, Any] = store.read_json(self.name) if self.is_careful else {"at": None, "blamed": []}
        self.blamed: list[str] = left["blamed"] + ([left["at"]] if left["at"] else [])

    def __enter__(self) -> Breadcrumbs:
        self._drop(at=None)
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self.store.delete(self.name)

    def reach(self, image: str) -> None:
        """Note, if a worker crashed on this shard, that work on an image begins."""
        if self.is_careful:
            self._drop(at=image)

    def _drop(self, at: str | None) -> None:
        self.store.write_json(self.name, {"at": at, "blamed": self.blamed})


def sweep(store: Store) -> None:
    """Remove every crumb: those of an interrupted run mean that it was stopped, not that a worker crashed."""
    store.delete(CRUMBS)
