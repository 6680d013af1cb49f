"""What every way to vary pictures shares: annotated pictures go in, samples to train on come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from clickpose.annotations import AnnotatedImage, PersonAnnotation
from clickpose.model.config import ModelConfig
from clickpose.skeleton import Skeleton

LoadImage = Callable[[AnnotatedImage], Image.Image]


@dataclass(frozen=True)
class Sample:
    """A picture with its persons, in pixels."""

    image: Image.Image
    persons: tuple[PersonAnnotation, ...]


@dataclass(frozen=True)
class Pictures:
    """Annotated pictures that share one skeleton, each opened upright when it is asked for."""

    images: Sequence[AnnotatedImage]
    load_image: LoadImage
    skeleton: Skeleton

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Open a picture."""
        return Sample(self.load_image(self.images[index]), self.images[index].persons)


class Augment(Protocol):
    """A way to vary pictures: a frozen dataclass whose fields are its settings."""

    def fit_to(self, model: ModelConfig) -> Augment:
        """Fill in what is left to the network to say, such as the size of what it sees."""

    def draw_batch(self, wanted: Sequence[int], pictures: Pictures, rng: np.random.Generator) -> list[Sample]:
        """Make a sample of each picture wanted, perhaps with others in it.

        Args:
            wanted: indices into the pictures.
            pictures: all there are.
            rng: of all that is random.
        """
