"""The interface of image augmentations: annotated images go in, training samples come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image

from clickpose.annotations import AnnotatedImage, PersonAnnotation
from clickpose.errors import ImageError
from clickpose.images import Findings, open_fitted
from clickpose.model.config import ModelConfig
from clickpose.skeleton import Skeleton

MAX_IN_A_ROW = 100  # unusable images: more indicate a wrong folder

LoadImage = Callable[[AnnotatedImage], Image.Image]


@dataclass(frozen=True)
class Sample:
    """An image with its persons, in pixels."""

    image: Image.Image
    persons: tuple[PersonAnnotation, ...]


@dataclass(frozen=True)
class TrainingImages:
    """Annotated images that share one skeleton, each opened upright when it is asked for.

    With ``skip_bad``, an image that cannot be used is logged and replaced by the next one.
    """

    images: Sequence[AnnotatedImage]
    load_image: LoadImage
    skeleton: Skeleton
    skip_bad: bool = False
    findings: Findings = field(default_factory=Findings, compare=False)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Open an image; ImageError if it, and with ``skip_bad`` the images after it, cannot be used."""
        for tried in range(1, 1 + min(len(self), MAX_IN_A_ROW)):
            try:
                image, record = open_fitted(self.images[index], self.load_image, self.findings)
                return Sample(image, record.persons)
            except ImageError as error:
                if not self.skip_bad or tried == min(len(self), MAX_IN_A_ROW):
                    raise
                self.findings.tell(f"left out: {error}")
            index = (index + 1) % len(self)
        raise IndexError(index)


class Augment(Protocol):
    """An image augmentation: a frozen dataclass whose fields are its settings."""

    def fit_to(self, model: ModelConfig) -> Augment:
        """Fill in settings that depend on the network, such as its input size."""

    def draw_batch(self, wanted: Sequence[int], images: TrainingImages, rng: np.random.Generator) -> list[Sample]:
        """Make a sample of each image wanted; it may contain others, too.

        Args:
            wanted: indices into the images.
            images: all images.
            rng: random generator.
        """
