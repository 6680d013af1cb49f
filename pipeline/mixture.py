"""Several data sets trained on together, each with a share of every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from clickpose.training.targets import is_trained_on
from pipeline.dataset import ImageFolder, in_skeleton, read_annotations


@dataclass(frozen=True)
class DataSource:
    """One data set to train on. Paths may be URIs.

    Attributes:
        annotations: COCO keypoint file; keypoints that it lacks are not trained.
        images: the folder that its file names are relative to.
        category: name of the category to read, where several have keypoints of their own.
        weight: how much of an epoch comes from it, relative to the weights of the other sources.
        num_images: how many of its images with labelled persons are used, drawn at random; None for all.
        seed: of that draw.

    Raises:
        InvalidConfig: the weight is not above 0.
    """

    annotations: str
    images: str
    weight: float = 1.0
    category: str | None = None
    num_images: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the weight."""
        if not 0 < self.weight < float("inf"):
            raise InvalidConfig(f"the weight of {self.annotations} is {self.weight}, must be above 0")
        if self.num_images is not None and self.num_images < 1:
            raise InvalidConfig(f"{self.num_images} images of {self.annotations} are wanted, must be 1 or more")


@dataclass(frozen=True)
class Mixture:
    """The images of several sources in one skeleton; file names begin with the number of their source."""

    sources: tuple[DataSource, ...]
    parts: tuple[AnnotationSet, ...]
    skeleton: Skeleton

    @property
    def num_persons(self) -> int:
        """Number of persons with at least one labelled keypoint, without crowds."""
        return sum(part.num_persons for part in self.parts)

    def load_image(self, image: AnnotatedImage) -> Image.Image:
        """Open an image of any source; ImageError if it cannot be read."""
        folder, original = self.origin(image)
        return folder(original)

    def origin(self, image: AnnotatedImage) -> tuple[ImageFolder, AnnotatedImage]:
        """Return the folder of an image, and the image as its own source names it."""
        number, _, file_name = image.file_name.partition("/")
        return ImageFolder(self.sources[int(number)].images), replace(image, file_name=file_name)

    def epoch(self, num_images: int | None, seed: tuple[int, ...]) -> AnnotationSet:
        """Draw the images of an epoch, each source by its weight; the same seed draws the same.

        Args:
            num_images: how many; None for as many as needed to see the first source once.
            seed: of the draw. All images of a source are drawn before one is repeated.
        """
        if len(self.parts) == 1:
            return self.parts[0]
        rng = np.random.default_rng(seed)
        weights = [source.weight if len(part) else 0 for source, part in zip(self.sources, self.parts, strict=True)]
        first = next(index for index, weight in enumerate(weights) if weight)
        once = round(len(self.parts[first]) * sum(weights) / weights[first])
        counts = shares(weights, num_images or once)
        drawn = [image for part, count in zip(self.parts, counts, strict=True) for image in _draw(part, count, rng)]
        return AnnotationSet(self.skeleton, tuple(drawn))


def open_mixture(sources: Sequence[DataSource], skeleton: Skeleton, *, skip_bad: bool = False) -> Mixture:
    """Read all sources in one skeleton; images without a labelled person are left out.

    Raises:
        StoreError: a file is missing.
        InvalidAnnotation: a file is not a COCO keypoint file, or a record is malformed and ``skip_bad`` is not set.
    """
    parts = []
    for number, source in enumerate(sources):
        found = read_annotations(source.annotations, category=source.category, skip_bad=skip_bad)
        found = in_skeleton(found, skeleton, source.annotations)
        images = _some([image for image in found.images if any(map(is_trained_on, image.persons))], source)
        named = tuple(replace(image, file_name=f"{number}/{image.file_name}") for image in images)
        parts.append(AnnotationSet(skeleton, named))
    return Mixture(tuple(sources), tuple(parts), skeleton)


def _some(images: list[AnnotatedImage], source: DataSource) -> list[AnnotatedImage]:
    """Draw the images of a source that are used, and keep their order."""
    if source.num_images is None or source.num_images >= len(images):
        return images
    drawn = np.random.default_rng(source.seed).choice(len(images), source.num_images, replace=False)
    return [images[index] for index in sorted(drawn)]


def shares(weights: Sequence[float], total: int) -> list[int]:
    """Divide ``total`` by weights; the rounding remainder goes to the largest fractions first."""
    exact = np.array(weights, np.float64) / sum(weights) * total
    counts = np.floor(exact).astype(int)
    for index in np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]:
        counts[index] += 1
    return [int(count) for count in counts]


def _draw(part: AnnotationSet, count: int, rng: np.random.Generator) -> list[AnnotatedImage]:
    order: list[int] = []
    while len(order) < count:
        order += rng.permutation(len(part)).tolist()
    return [part.images[index] for index in order[:count]]
