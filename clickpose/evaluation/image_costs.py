"""The costs of one model on each image, so that two models can be compared image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clickpose.annotations import AnnotatedImage, Ints, Pose
from clickpose.evaluation.click_cost import CostMeter
from clickpose.evaluation.click_style import DEFAULT_STYLE, ClickStyle
from clickpose.evaluation.coco_metrics import image_ap
from clickpose.evaluation.matching import labelled_persons, match_by_oks
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.visits import Visit
from clickpose.oks import within_tolerance
from clickpose.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class ImageCost:
    """One model on one image.

    Attributes:
        file_name: of the image.
        num_persons: with at least one labelled keypoint.
        clicks: of all these persons together until each reaches the goal, added persons included.
        num_spurious: poses shown that match none of them.
        ap: keypoint AP in [0, 1] of the persons shown in this image; None without a person that counts.
        num_within: keypoints within tolerance before a refine, over all refines.
        num_harmed: those of them that are outside afterwards.
        num_helped: keypoints that a refine brought from outside tolerance into it.
        labelled: ``(K,)`` persons with a label for each keypoint.
        accurate: ``(K,)`` persons whose keypoint is within tolerance before the first click; a missed person has none.
    """

    file_name: str
    num_persons: int
    clicks: int
    num_spurious: int
    ap: float | None
    num_within: int
    num_harmed: int
    num_helped: int
    labelled: Ints
    accurate: Ints


class ImageMeter:
    """Measures every image by itself; ``costs`` has them in the order of the data set."""

    def __init__(self, predictor: PosePredictor, goal: float, style: ClickStyle = DEFAULT_STYLE) -> None:
        """Correct each person until its OKS reaches ``goal``, which is also the tolerance of its keypoints."""
        self.predictor, self.goal, self.style = predictor, goal, style
        self.costs: list[ImageCost] = []

    def visit(self, visit: Visit) -> None:
        """Measure one image."""
        meter, skeleton = CostMeter(self.predictor, self.goal, style=self.style), self.predictor.skeleton
        meter.visit(visit)
        ap = image_ap(visit.image, skeleton, visit.shown)
        labelled, accurate = first_pass_accuracy(visit.shown, visit.image, skeleton, self.goal)
        cost = ImageCost(
            file_name=visit.image.file_name,
            num_persons=len(meter.refined.clicks),
            clicks=sum(meter.refined.clicks),
            num_spurious=meter.num_spurious,
            ap=None if ap < 0 else ap,
            num_within=meter.ledger.num_within,
            num_harmed=meter.ledger.num_harmed,
            num_helped=meter.ledger.num_helped,
            labelled=labelled,
            accurate=accurate,
        )
        self.costs.append(cost)


def first_pass_accuracy(
    shown: Sequence[Pose], image: AnnotatedImage, skeleton: Skeleton, tolerance: float
) -> tuple[Ints, Ints]:
    """Return, for each keypoint, ``(K,)``, how many persons have a label and how many are shown within tolerance."""
    persons = labelled_persons(image)
    labelled, accurate = np.zeros(len(skeleton), np.int64), np.zeros(len(skeleton), np.int64)
    for truth in persons:
        labelled += truth.visibility > 0
    for pose, person in match_by_oks(shown, persons, skeleton).items():
        accurate += within_tolerance(shown[pose].keypoints_px, persons[person], skeleton.sigmas, tolerance)
    return labelled, accurate
