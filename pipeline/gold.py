"""Gold images: their labels are trusted, they are never trained on, and models are compared on them.

annotations/gold.json   {"images": ["a.jpg", ...]}, file names as the annotations have them
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.store import Store

GOLD = "annotations/gold.json"


def named_gold(store: Store) -> frozenset[str]:
    """Return the file names of the images that were named as gold."""
    return frozenset(store.read_json(GOLD)["images"]) if store.exists(GOLD) else frozenset()


def name_gold(store: Store, file_names: Iterable[str]) -> frozenset[str]:
    """Add images to the gold set by file name; return the whole set."""
    return _write(store, named_gold(store) | set(file_names))


def forget_gold(store: Store, file_names: Iterable[str]) -> frozenset[str]:
    """Remove images from the gold set; return the rest. They stay held back if the hash of their name says so."""
    return _write(store, named_gold(store) - set(file_names))


def _write(store: Store, file_names: frozenset[str]) -> frozenset[str]:
    store.write_json(GOLD, {"images": sorted(file_names)})
    return file_names
