"""Which images are known, for millions of them: eight bytes each, whatever they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.listing import ListedImage

Keys = NDArray[np.uint64]


class KeySet:
    """A set of hashes that grows in large steps."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.sorted: Keys = np.zeros(0, np.uint64) if keys is None else np.unique(keys)

    def __len__(self) -> int:
        return len(self.sorted)

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell of each key whether it is in the set."""
        if not len(self.sorted):
            return np.zeros(len(keys), bool)
        at = np.searchsorted(self.sorted, keys).clip(max=len(self.sorted) - 1)
        return np.asarray(self.sorted[at] == keys)

    def add(self, keys: Keys) -> None:
        """Put keys into the set."""
        self.sorted = np.union1d(self.sorted, keys)


def identities(images: Iterable[ListedImage]) -> Keys:
    """Hash what an image is: its name below the root, its size and the time it was modified."""
    return _hashes(f"{image.name}\n{image.num_bytes}\n{image.modified_ns}" for image in images)


def names(images: Iterable[ListedImage]) -> Keys:
    """Hash what an image is called: its name below the root."""
    return _hashes(image.name for image in images)


def places(images: Iterable[ListedImage]) -> Keys:
    """Hash where an image lies."""
    return _hashes(image.uri for image in images)


def is_first(keys: Keys) -> NDArray[np.bool_]:
    """Tell of each key whether it is the first of its kind."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def _hashes(texts: Iterable[str]) -> Keys:
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, np.uint64)
