"""What changed between two snapshots, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet


@dataclass(frozen=True)
class Changed:
    """An image whose annotations changed.

    Attributes:
        file_name: of the image.
        persons_added: new persons.
        persons_removed: removed persons.
        keypoints_changed: of the other persons: moved by more than half a pixel, or with another visibility.
    """

    file_name: str
    persons_added: int
    persons_removed: int
    keypoints_changed: int


@dataclass(frozen=True)
class DataDiff:
    """File names of images added and removed, and the changes of the others."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Changed, ...]


def diff_data(old: AnnotationSet, new: AnnotationSet) -> DataDiff:
    """Compare two data sets of one skeleton by file name, and their persons by id."""
    before = {image.file_name: image for image in old.images}
    after = {image.file_name: image for image in new.images}
    both = [_compare(before[name], after[name]) for name in sorted(before.keys() & after.keys())]
    changed = tuple(one for one in both if one.persons_added or one.persons_removed or one.keypoints_changed)
    return DataDiff(tuple(sorted(after.keys() - before.keys())), tuple(sorted(before.keys() - after.keys())), changed)


def _compare(old: AnnotatedImage, new: AnnotatedImage) -> Changed:
    before, after = ({person.id: person for person in image.persons} for image in (old, new))
    moved = 0
    for person in before.keys() & after.keys():
        a, b = before[person], after[person]
        judged = a.visibility != b.visibility
        far = (np.abs(a.keypoints_px - b.keypoints_px) > 0.5).any(1) & (b.visibility > 0)
        moved += int((judged | far).sum())
    return Changed(new.file_name, len(after.keys() - before.keys()), len(before.keys() - after.keys()), moved)
