"""What a folder of pre-labels holds already, and what of a listing it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clickpose.errors import StoreError
from pipeline.known import KeySet, identities, is_first, names, places
from pipeline.listing import ListedImage
from pipeline.prelabelled import Failure, Model
from pipeline.shards import drop_rows, read_images
from pipeline.store import Store


@dataclass(frozen=True)
class SortedOut:
    """Some images of a listing: those to label, and how many of the others there are.

    Attributes:
        missing: to be labelled.
        clashing: not to be labelled: another image has their name.
        num_kept: labelled already.
        num_failed: failed before, and not to be tried again.
        num_doubled: listed before in the same listing.
    """

    missing: list[ListedImage]
    clashing: list[ListedImage]
    num_kept: int
    num_failed: int
    num_doubled: int

    def __len__(self) -> int:
        """Number of images."""
        return len(self.missing) + len(self.clashing) + self.num_kept + self.num_failed + self.num_doubled


class Inventory:
    """The images that are labelled, and those that a run lists and plans; empty before ``read``.

    Args:
        store: the folder.
        may_move: an image with the name of a labelled one, but at another place, is that image, moved and replaced;
            else it is another image.
    """

    def __init__(self, store: Store, *, may_move: bool) -> None:
        self.store, self.may_move = store, may_move
        self.failures: Sequence[Failure] = ()
        self.labelled, self.names, self.places, self.doubled = KeySet(), KeySet(), KeySet(), KeySet()
        self.failed = KeySet()
        self.listed, self.listed_names = KeySet(), KeySet()
        self.replaced, self.tried = KeySet(), KeySet()

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
        self._read_labelled(model)

    def sort_out(self, images: Sequence[ListedImage], *, retry_failed: bool) -> SortedOut:
        """Sort out images of a listing; what failed is missing if it has changed since, or is to be tried again."""
        keys = identities(images)
        is_new = ~self.listed.has(keys) & is_first(keys)
        is_kept = is_new & self.labelled.has(keys)
        is_failed = is_new & ~is_kept & self.failed.has(keys) & (not retry_failed)
        is_missing = is_new & ~is_kept & ~is_failed
        is_clash = is_missing & self._has_anothers_name(images)
        self.listed.add(keys)
        self.listed_names.add(names(images))
        missing, clashing = ([images[i] for i in which.nonzero()[0]] for which in (is_missing & ~is_clash, is_clash))
        return SortedOut(missing, clashing, *(int(which.sum()) for which in (is_kept, is_failed, ~is_new)))

    def plan(self, images: Sequence[ListedImage]) -> None:
        """Note that images are about to be labelled, if there is something of theirs already."""
        keys = names(images)
        self.replaced.add(keys[self.names.has(keys)])
        if self.failures:
            self.tried.add(places(images))

    def drop_replaced(self) -> None:
        """Delete the rows of images that another one took the place of, and all but one row of each name."""
        in_question = KeySet(np.concatenate((self.replaced.sorted, self.doubled.sorted)))
        if not len(in_question):
            return
        kept: dict[str, tuple[str, int]] = {}
        for shard, _, images in read_images(self.store):
            for i in in_question.has(names(images)).nonzero()[0]:
                if self._is_current(images[i]) or images[i].name not in kept:
                    kept[images[i].name] = (shard, int(i))
        for shard, _, images in read_images(self.store):
            asked = in_question.has(names(images))
            is_kept = [not asked[i] or self._is_kept(image, (shard, i), kept) for i, image in enumerate(images)]
            if not all(is_kept):
                drop_rows(self.store, shard, is_kept)

    def failures_elsewhere(self) -> list[Failure]:
        """Return the failures of earlier runs over images that this one did not try."""
        tried = self.tried.has(places(failure.image for failure in self.failures))
        return [failure for failure, was_tried in zip(self.failures, tried, strict=True) if not was_tried]

    def _read_labelled(self, model: Model) -> None:
        labelled, called, lie_at = [], [], []
        for _, digest, images in read_images(self.store):
            if digest != model.digest:
                raise StoreError(
                    f"{self.store.uri} holds pre-labels of another model than {model.version}; choose another folder,"
                    " or delete them with --fresh"
                )
            labelled.append(identities(images))
            called.append(names(images))
            lie_at.append(places(images))
        if labelled:
            self.labelled.add(np.concatenate(labelled))
            self.places.add(np.concatenate(lie_at))
            found, counts = np.unique(np.concatenate(called), return_counts=True)
            self.names.add(found)
            self.doubled.add(found[counts > 1])

    def _has_anothers_name(self, images: Sequence[ListedImage]) -> NDArray[np.bool_]:
        called = names(images)
        is_taken = self.listed_names.has(called) | ~is_first(called)
        if self.may_move:
            return is_taken
        return is_taken | self.names.has(called) & ~self.places.has(places(images))

    def _is_current(self, image: ListedImage) -> bool:
        return bool(self.listed.has(identities([image]))[0])

    def _is_kept(self, image: ListedImage, row: tuple[str, int], kept: dict[str, tuple[str, int]]) -> bool:
        """Keep one row of each name; none of an image that was tried again and failed."""
        was_tried = bool(self.replaced.has(names([image]))[0])
        return kept[image.name] == row and (self._is_current(image) or not was_tried)
