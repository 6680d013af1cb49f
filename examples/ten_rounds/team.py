"""The team on photos of athletes, one of whom swaps left and right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clickpose.annotations import AnnotatedImage
from clickpose.skeleton import Skeleton
from examples.rounds import Team, annotated

POISONED, POISONER, NUM_POISONED = 5, "mallory", 20  # in that round, images with left and right swapped are added


class PoisonedTeam(Team):
    """A team to which somebody belongs who mistakes left for right."""

    def batch(self, number: int) -> list[AnnotatedImage]:
        """Return what is annotated in a round; the poison is last."""
        return super().batch(number) + (self.poison() if number == POISONED else [])

    def poison(self) -> list[AnnotatedImage]:
        """Return the images whose left and right are swapped; they are the last ones of the truth."""
        rng = np.random.default_rng(0)
        return [swapped(annotated(image, rng), self.truth.skeleton) for image in self.truth.images[-NUM_POISONED:]]

    def annotator_of(self, image: AnnotatedImage) -> str:
        """Return who annotates an image."""
        poisoned = {image.file_name for image in self.truth.images[-NUM_POISONED:]}
        return POISONER if image.file_name in poisoned else super().annotator_of(image)


def swapped(image: AnnotatedImage, skeleton: Skeleton) -> AnnotatedImage:
    """Return an image with left and right mistaken for each other."""
    order = skeleton.flip_permutation
    persons = (replace(p, keypoints_px=p.keypoints_px[order], visibility=p.visibility[order]) for p in image.persons)
    return replace(image, persons=tuple(persons))
