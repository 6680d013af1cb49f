"""Go through a data set once: every image is encoded and detected once, for all meters together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeVar

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.errors import InvalidAnnotation
from clickpose.evaluation.predictors import PosePredictor

LoadImage: TypeAlias = Callable[[AnnotatedImage], Any]
OnProgress: TypeAlias = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Visit:
    """One image, as all meters see it.

    Attributes:
        image: the truth.
        encoded: the image, encoded by the predictor.
        shown: the persons that an annotator is shown, by the model's own thresholds.
        predictor: that is measured.
    """

    image: AnnotatedImage
    encoded: Any
    shown: list[Pose]
    predictor: PosePredictor
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def candidates(self) -> list[Pose]:
        """Every person the model considers, best first: as published, average precision is that of all of them.

        This takes longer than finding the likely ones, so it is computed when a meter needs it.
        """
        return self.predictor.hypotheses(self.encoded)

    def share(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what the first meter computed under this key, so that meters share it."""
        if key not in self._shared:
            self._shared[key] = make()
        value: T = self._shared[key]
        return value


class Meter(Protocol):
    """Measures something over all images of a data set."""

    def visit(self, visit: Visit) -> None:
        """Add one image."""


def visit_images(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    meters: Sequence[Meter],
    progress: OnProgress | None = None,
) -> None:
    """Show every image to every meter.

    Args:
        predictor: encodes each image once.
        annotations: the truth, in the predictor's skeleton.
        load_image: returns the image of a record, in the form that ``predictor.encode`` takes.
        meters: what to measure.
        progress: called with (images done, images in all) after each one.

    Raises:
        InvalidAnnotation: the annotations have other keypoints than the predictor.
    """
    if annotations.skeleton.keypoints != predictor.skeleton.keypoints:
        raise InvalidAnnotation(
            f"the annotations have the keypoints of {annotations.skeleton.name!r}, the model those of"
            f" {predictor.skeleton.name!r}: convert the annotations first (clickpose.annotations.convert_set)"
        )
    for done, image in enumerate(annotations.images, start=1):
        encoded = predictor.encode(load_image(image))
        visit = Visit(image, encoded, predictor.detect(encoded), predictor)
        for meter in meters:
            meter.visit(visit)
        if progress is not None:
            progress(done, len(annotations))
