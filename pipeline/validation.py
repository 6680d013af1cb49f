"""How a training is doing on images that it does not learn from, measured after each epoch."""

from __future__ import annotations

from dataclasses import dataclass

from clickpose.annotations import AnnotationSet
from clickpose.checkpoints.model_folder import Network
from clickpose.evaluation.click_cost import CostMeter
from clickpose.evaluation.report import ShownPrecision
from clickpose.evaluation.visits import visit_images
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from pipeline.dataset import ImageFolder, fit_records, in_skeleton, read_annotations
from pipeline.mixture import DataSource

GOAL = 0.85  # OKS of a person
BEST = "best.pt"  # in the run's folder: the averaged weights of the epoch with the fewest clicks
CLICKS = "val/clicks"


@dataclass(frozen=True)
class Validation:
    """Images to measure on.

    Attributes:
        annotations: the truth, in the network's skeleton.
        images: opens them.
    """

    annotations: AnnotationSet
    images: ImageFolder

    @classmethod
    def open(cls, source: DataSource, skeleton: Skeleton, *, skip_bad: bool) -> Validation:
        """Read a data set, and open each image once to see that it fits its record.

        Raises:
            InvalidAnnotation: the file is no COCO keypoint file, or a record is malformed and ``skip_bad`` is not set.
            ImageError: an image cannot be used, and ``skip_bad`` is not set.
        """
        found = read_annotations(source.annotations, category=source.category, skip_bad=skip_bad)
        images = ImageFolder(source.images)
        return cls(fit_records(in_skeleton(found, skeleton, source.annotations), images, skip_bad=skip_bad), images)

    def measure(self, network: Network) -> dict[str, float]:
        """Return AP of the persons shown, and clicks per person with the model's answers and by hand."""
        predictor = Predictor(network, self.annotations.skeleton)
        cost, precision = CostMeter(predictor, GOAL), ShownPrecision()
        visit_images(predictor, self.annotations, self.images, [cost, precision])
        clicks = cost.result()
        return {
            "val/AP": precision.result(self.annotations)["AP"],
            CLICKS: clicks.mean_clicks,
            "val/manual_clicks": clicks.manual_mean_clicks,
        }
