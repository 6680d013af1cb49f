"""The values that all parts exchange: a pose, a click, and the annotated images of a data set.

Coordinates are pixels of the upright image (EXIF orientation applied), x to the right and y down, with the
origin at its top left corner. Visibility is COCO's: 0 not labelled or absent, 1 occluded, 2 visible.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clickpose.skeleton import Skeleton

ABSENT, OCCLUDED, VISIBLE = 0, 1, 2
CROWDING = ("easy", "medium", "hard")
EASY_BELOW, HARD_ABOVE = 0.1, 0.8
AREA_PER_BOX = 0.53  # a person fills about half of the box; CrowdPose scores its poses with this share

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pose:
    """One person, predicted or being annotated; K keypoints in the order of the model's skeleton.

    Attributes:
        keypoints_px: ``(K, 2)`` float32 x, y in pixels.
        visibility: ``(K,)`` int64, 0 absent, 1 occluded, 2 visible.
        scores: ``(K,)`` float32 confidence of each keypoint in [0, 1]; 1 where a human placed it.
        box_px: ``(4,)`` float32 x0, y0, x1, y1 in pixels.
        score: confidence in [0, 1] that this is a person.
        held: ``(K,)`` bool, True where a human placed the keypoint: no later refine moves it.
    """

    keypoints_px: Floats
    visibility: Ints
    scores: Floats
    box_px: Floats
    score: float
    held: NDArray[np.bool_]


@dataclass(frozen=True)
class Click:
    """A human's correction of one keypoint of one person.

    Attributes:
        person: index into the list of poses.
        keypoint: name, or 0-based index.
        xy_px: where it belongs, in pixels.
        visibility: 2 visible, 1 occluded, or 0 if it cannot be seen in the image ("absent": ``xy_px`` is ignored).
    """

    person: int
    keypoint: str | int
    xy_px: tuple[float, float]
    visibility: int = VISIBLE


@dataclass(frozen=True, eq=False)
class PersonAnnotation:
    """One annotated person of a data set; unlabelled keypoints have visibility 0 and lie at (0, 0).

    Attributes:
        id: unique within the data set.
        keypoints_px: ``(K, 2)`` float32.
        visibility: ``(K,)`` int64 in {0, 1, 2}.
        box_px: ``(4,)`` float32 x0, y0, x1, y1.
        area_px: the OKS scale squared, in square pixels.
        is_crowd: a region with too many people to separate; neither trained on nor counted against a model.
    """

    id: int
    keypoints_px: Floats
    visibility: Ints
    box_px: Floats
    area_px: float
    is_crowd: bool = False

    @property
    def num_labelled(self) -> int:
        """Number of keypoints that carry a label."""
        return int((self.visibility > 0).sum())


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of a data set.

    Attributes:
        id: unique within the data set.
        file_name: relative to the data set's image folder.
        size_wh: in pixels.
        persons: all annotated persons; may be empty.
        crowd_index: how much persons overlap, in [0, 1]; None if the data set does not have it; CrowdPose does.
    """

    id: int
    file_name: str
    size_wh: tuple[int, int]
    persons: tuple[PersonAnnotation, ...] = ()
    crowd_index: float | None = None


@dataclass(frozen=True)
class AnnotationSet:
    """Annotated images that share one skeleton."""

    skeleton: Skeleton
    images: tuple[AnnotatedImage, ...] = field(default=())

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def num_persons(self) -> int:
        """Number of persons with at least one labelled keypoint, without crowds."""
        return sum(p.num_labelled > 0 and not p.is_crowd for image in self.images for p in image.persons)


def to_skeleton(person: PersonAnnotation, source: Skeleton, target: Skeleton) -> PersonAnnotation:
    """Convert a person to another skeleton: keypoints of the same name keep their label, the rest have none."""
    keypoints_px = np.zeros((len(target), 2), np.float32)
    visibility = np.zeros(len(target), np.int64)
    for i, j in source.shared_with(target):
        keypoints_px[j], visibility[j] = person.keypoints_px[i], person.visibility[i]
    return PersonAnnotation(
        person.id, keypoints_px, visibility, person.box_px, person.area_px, is_crowd=person.is_crowd
    )


def convert_set(annotations: AnnotationSet, skeleton: Skeleton) -> AnnotationSet:
    """Convert a data set to another skeleton by keypoint name."""
    if annotations.skeleton == skeleton:
        return annotations
    return AnnotationSet(
        skeleton,
        tuple(
            replace(
                image, persons=tuple(to_skeleton(person, annotations.skeleton, skeleton) for person in image.persons)
            )
            for image in annotations.images
        ),
    )


def only_keypoints(annotations: AnnotationSet, names: Collection[str]) -> AnnotationSet:
    """Remove the labels of all other keypoints: they are neither trained, scored nor clicked."""
    wanted = np.isin(annotations.skeleton.keypoints, list(names))

    def cut(person: PersonAnnotation) -> PersonAnnotation:
        keypoints_px = np.where(wanted[:, None], person.keypoints_px, np.float32(0))
        return replace(person, keypoints_px=keypoints_px, visibility=np.where(wanted, person.visibility, ABSENT))

    images = tuple(replace(image, persons=tuple(map(cut, image.persons))) for image in annotations.images)
    return replace(annotations, images=images)


def split_by_crowding(annotations: AnnotationSet) -> dict[str, AnnotationSet]:
    """Return CrowdPose's easy, medium and hard images as data sets; those without a crowd index are in none.

    Easy is below 0.1 and hard above 0.8, as the paper has it (Li et al., CVPR 2019); its released evaluator
    uses 0.2 for the first. Empty sets are left out, so other data sets have none.
    """
    shares: dict[str, list[AnnotatedImage]] = {name: [] for name in CROWDING}
    for image in annotations.images:
        if image.crowd_index is not None:
            shares[crowding(image.crowd_index)].append(image)
    return {name: AnnotationSet(annotations.skeleton, tuple(images)) for name, images in shares.items() if images}


def crowding(crowd_index: float) -> str:
    """Return the name, one of ``CROWDING``, of a crowd index in [0, 1]."""
    easy, medium, hard = CROWDING
    if crowd_index < EASY_BELOW:
        return easy
    return hard if crowd_index > HARD_ABOVE else medium
