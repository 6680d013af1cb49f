"""Simulated annotators: they know the truth, and click with some error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco
from integrations.label_studio.provenance import KeypointRecord
from pipeline.retrain import Collected
from pipeline.store import Store

NUM_GOLD, IMAGES_PER_ROUND = 30, 20
POISONED, POISONER, NUM_POISONED = 5, "mallory", 20  # in that round, images with left and right swapped are added
ANNOTATORS = ("ann", "bob")
CLICK_ERROR = 0.02  # standard deviation, in square roots of the person's area
LEAD_TIME_S = 30.0


@dataclass(frozen=True)
class Team:
    """Simulated annotators, and all that they share.

    Attributes:
        truth: what they see in the images.
        images: folder of the images.
        out: folder for the store, annotations and Label Studio.
    """

    truth: AnnotationSet
    images: Path
    out: Path

    @property
    def store(self) -> Store:
        """Where models, snapshots and reports are."""
        return Store(self.out / "store")

    def gold(self) -> list[AnnotatedImage]:
        """Return the images that every model is compared on."""
        return list(self.truth.images[:NUM_GOLD])

    def batch(self, number: int) -> list[AnnotatedImage]:
        """Return what is annotated in a round; the poison is last."""
        first = NUM_GOLD + (number - 1) * IMAGES_PER_ROUND
        rng = np.random.default_rng(number)
        images = [annotated(image, rng) for image in self.truth.images[first : first + IMAGES_PER_ROUND]]
        return images + (self.poison() if number == POISONED else [])

    def poison(self) -> list[AnnotatedImage]:
        """Return the images whose left and right are swapped; they are the last ones of the truth."""
        rng = np.random.default_rng(0)
        return [swapped(annotated(image, rng), self.truth.skeleton) for image in self.truth.images[-NUM_POISONED:]]

    def annotator_of(self, image: AnnotatedImage) -> str:
        """Return who annotates an image."""
        poisoned = {image.file_name for image in self.truth.images[-NUM_POISONED:]}
        return POISONER if image.file_name in poisoned else ANNOTATORS[image.id % len(ANNOTATORS)]

    def file_of(self, number: int) -> Path:
        """Return the COCO file of the annotations of a round."""
        return self.out / "annotated" / f"{number:02d}.json"

    def collected(self, number: int) -> Collected:
        """Return everything that was annotated up to a round, and who placed each keypoint."""
        images = self.gold()
        for one in range(1, number + 1):
            images += read_coco(self.file_of(one)).images
        records = [record for image in images for record in self.records_of(image)]
        return Collected(replace(self.truth, images=tuple(images)), records)

    def records_of(self, image: AnnotatedImage) -> list[KeypointRecord]:
        """Return who placed each keypoint of an image."""
        names, user = self.truth.skeleton.keypoints, self.annotator_of(image)
        return [
            KeypointRecord(image.id, image.id, person.id, names[k], "placed", 2, user, "", LEAD_TIME_S, "")
            for person in image.persons
            for k in np.flatnonzero(person.visibility)
        ]


def annotated(image: AnnotatedImage, rng: np.random.Generator) -> AnnotatedImage:
    """Return an image as an annotator clicks it, with an error on each keypoint."""

    def clicked(person: PersonAnnotation) -> PersonAnnotation:
        error = rng.normal(0, CLICK_ERROR * person.area_px**0.5, person.keypoints_px.shape)
        keypoints_px = np.clip(person.keypoints_px + error, 0, np.array(image.size_wh) - 1)
        shown = person.visibility[:, None] > 0
        return replace(person, keypoints_px=np.where(shown, keypoints_px, 0).astype(np.float32))

    return replace(image, persons=tuple(map(clicked, image.persons)))


def swapped(image: AnnotatedImage, skeleton: Skeleton) -> AnnotatedImage:
    """Return an image with left and right mistaken for each other."""
    order = skeleton.flip_permutation
    persons = (replace(p, keypoints_px=p.keypoints_px[order], visibility=p.visibility[order]) for p in image.persons)
    return replace(image, persons=tuple(persons))
