"""What a folder of pre-labels holds already, and what of a listing it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clickpose.errors import StoreError
from pipeline.known import KeySet, identities, places
from pipeline.listing import ListedImage
from pipeline.prelabelled import Failure, Model
from pipeline.shards import drop_rows, read_images
from pipeline.store import Store


@dataclass(frozen=True)
class SortedOut:
    """Some images of a listing: those to label, and how many of the others there are.

    Attributes:
        missing: to be labelled.
        num_kept: labelled already.
        num_failed: failed before, and not to be tried again.
        num_doubled: listed before in the same listing.
    """

    missing: list[ListedImage]
    num_kept: int
    num_failed: int
    num_doubled: int

    def __len__(self) -> int:
        """Number of images."""
        return len(self.missing) + self.num_kept + self.num_failed + self.num_doubled


class Inventory:
    """The images that are labelled, and those that a run lists and plans; empty before ``read``."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failures: Sequence[Failure] = ()
        self.labelled, self.places, self.doubled = KeySet(), KeySet(), KeySet()
        self.failed, self.failed_places = KeySet(), KeySet()
        self.listed, self.planned = KeySet(), KeySet()

    def read(self, model: Model, failures: Sequence[Failure]) -> None:
        """Read what earlier runs left.

        Args:
            model: that labels.
            failures: of earlier runs.

        Raises:
            StoreError: another model has labelled.
        """
        known = [failure.image for failure in failures if failure.image.modified_ns is not None]
        self.failures, self.failed = failures, KeySet(identities(known))
        self.failed_places = KeySet(places(failure.image for failure in failures))
        self._read_labelled(model)

    def sort_out(self, images: Sequence[ListedImage], *, retry_failed: bool) -> SortedOut:
        """Sort out images of a listing; what failed is missing if it has changed since, or is to be tried again."""
        keys = identities(images)
        is_new = ~self.listed.has(keys)
        first = np.zeros(len(keys), bool)
        first[np.unique(keys, return_index=True)[1]] = True
        is_new &= first
        self.listed.add(keys)
        is_kept = is_new & self.labelled.has(keys)
        is_failed = is_new & ~is_kept & self.failed.has(keys) & (not retry_failed)
        missing = is_new & ~is_kept & ~is_failed
        counts = (int(which.sum()) for which in (is_kept, is_failed, ~is_new))
        return SortedOut([images[i] for i in missing.nonzero()[0]], *counts)

    def plan(self, images: Sequence[ListedImage]) -> None:
        """Note that images are about to be labelled, if there is something of theirs already."""
        keys = places(images)
        self.planned.add(keys[self.places.has(keys) | self.failed_places.has(keys)])

    def drop_replaced(self) -> None:
        """Delete the rows of images that another one took the place of, and all but one row of each image."""
        replaced = self.planned.sorted[self.places.has(self.planned.sorted)]
        in_question = KeySet(np.concatenate((replaced, self.doubled.sorted)))
        if not len(in_question):
            return
        kept: dict[str, tuple[str, int]] = {}
        for name, _, images in read_images(self.store):
            for i in in_question.has(places(images)).nonzero()[0]:
                if self._is_current(images[i]) or images[i].uri not in kept:
                    kept[images[i].uri] = (name, int(i))
        for name, _, images in read_images(self.store):
            asked = in_question.has(places(images))
            is_kept = [not asked[i] or self._is_kept(image, (name, i), kept) for i, image in enumerate(images)]
            if not all(is_kept):
                drop_rows(self.store, name, is_kept)

    def failures_elsewhere(self) -> list[Failure]:
        """Return the failures of earlier runs over images that this one did not try."""
        tried = self.planned.has(places(failure.image for failure in self.failures))
        return [failure for failure, was_tried in zip(self.failures, tried, strict=True) if not was_tried]

    def _read_labelled(self, model: Model) -> None:
        labelled, lie_at = [], []
        for _, digest, images in read_images(self.store):
            if digest != model.digest:
                raise StoreError(
                    f"{self.store.uri} holds pre-labels of another model than {model.version}; choose another folder,"
                    " or delete them with --fresh"
                )
            labelled.append(identities(images))
            lie_at.append(places(images))
        if labelled:
            self.labelled.add(np.concatenate(labelled))
            found, counts = np.unique(np.concatenate(lie_at), return_counts=True)
            self.places.add(found)
            self.doubled.add(found[counts > 1])

    def _is_current(self, image: ListedImage) -> bool:
        return bool(self.listed.has(identities([image]))[0])

    def _is_kept(self, image: ListedImage, row: tuple[str, int], kept: dict[str, tuple[str, int]]) -> bool:
        """Keep one row of each image; none of one that was tried again and failed."""
        was_tried = bool(self.planned.has(places([image]))[0])
        return kept[image.uri] == row and (self._is_current(image) or not was_tried)
