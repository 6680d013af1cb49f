"""Clicks per person until the person's OKS reaches a goal, with a model that follows and by hand.

Persons are corrected one after the other, one click at a time, only on keypoints outside tolerance. The tolerance
equals the goal, so that below the goal there is always a keypoint to click. A person the model missed costs two more
clicks, or one if a click adds persons. Manual correction is the same annotator without a model that follows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.evaluation.annotators import SimulatedAnnotator
from clickpose.evaluation.click_style import CLICKS_TO_ADD, DEFAULT_STYLE, ClickStyle
from clickpose.evaluation.corrections import Answers, Correction, RefineLedger
from clickpose.evaluation.predictors import ManualCorrection, PosePredictor
from clickpose.evaluation.visits import LoadImage, Visit, visit_images

MIN_COVERED = 0.5  # share of a pose's box inside an annotated person's


@dataclass(frozen=True)
class ClickCost:
    """The annotation cost of a data set; shares are in [0, 1], and NaN if there was nothing to count.

    Attributes:
        oks_threshold: the goal for each person, and the tolerance of each keypoint.
        num_persons: persons with at least one labelled keypoint.
        mean_clicks: clicks per person, failures and added persons included.
        manual_mean_clicks: the same by hand.
        num_failed: persons below the goal after the last click allowed; their clicks count.
        manual_num_failed: the same by hand.
        num_added: persons the model missed, at two clicks each.
        num_spurious: poses shown where no person is annotated, with or without keypoints; an annotator would delete
            them, which is not counted here.
        harm: share of keypoints within tolerance before a refine and outside after, without placed ones.
        help: share of keypoints outside tolerance before a refine and within after, without placed ones.
        max_held_drift_px: the largest distance of a placed keypoint from its click; 0 in a correct predictor.
        answer_ms: median time of one refine of one person.
        answer_ms_p95: 95th percentile of the same.
    """

    oks_threshold: float
    num_persons: int
    mean_clicks: float
    manual_mean_clicks: float
    num_failed: int
    manual_num_failed: int
    num_added: int
    num_spurious: int
    harm: float
    help: float
    max_held_drift_px: float
    answer_ms: float
    answer_ms_p95: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class Tally:
    """Clicks of every person so far, one list entry per person."""

    clicks: list[int] = field(default_factory=list)
    num_failed: int = 0
    num_added: int = 0

    def absorb(self, other: Tally) -> None:
        """Add the persons of another tally behind our own."""
        self.clicks += other.clicks
        self.num_failed += other.num_failed
        self.num_added += other.num_added


class CostMeter:
    """Corrects every image twice, with the model and by hand."""

    def __init__(
        self,
        predictor: PosePredictor,
        oks_threshold: float = 0.9,
        cap: int | None = None,
        style: ClickStyle = DEFAULT_STYLE,
    ) -> None:
        """Allow ``cap`` clicks per person, by default as many as there are keypoints."""
        self.skeleton, self.oks_threshold = predictor.skeleton, oks_threshold
        self.cap = len(predictor.skeleton) if cap is None else cap
        self.style = style
        self.ledger = RefineLedger(predictor.skeleton, oks_threshold)
        self.refined, self.manual = Tally(), Tally()
        self.num_spurious = 0

    def visit(self, visit: Visit) -> None:
        """Correct one image with the model and, separately, by hand."""
        annotator = self._correct(visit.predictor, visit, self.refined, self.ledger)
        strays = [pose for index, pose in enumerate(visit.shown) if index not in annotator.matches]
        self.num_spurious += sum(not shows_someone(pose, visit.image) for pose in strays)
        unheard = RefineLedger(self.skeleton, self.oks_threshold)
        self._correct(ManualCorrection(visit.predictor), visit, self.manual, unheard)

    def _correct(
        self, predictor: PosePredictor, visit: Visit, tally: Tally, ledger: RefineLedger
    ) -> SimulatedAnnotator:
        annotator = self.style.annotator(visit.image, predictor.skeleton, self.oks_threshold)
        answers = answers_on(visit, predictor, self.style)
        correction = Correction(answers, visit.shown, annotator, ledger, add=self.style.add)
        for index in sorted(annotator.matches):
            added = index >= len(visit.shown)
            clicks = correction.correct_person(index, self.oks_threshold, self.cap)
            tally.clicks.append(clicks + added * CLICKS_TO_ADD[self.style.add])
            tally.num_added += added
            tally.num_failed += not correction.reached(index, self.oks_threshold)
        return annotator

    def absorb(self, other: CostMeter) -> None:
        """Add the persons of another meter behind our own."""
        self.refined.absorb(other.refined)
        self.manual.absorb(other.manual)
        self.ledger.absorb(other.ledger)
        self.num_spurious += other.num_spurious

    def result(self) -> ClickCost:
        """Return the means and shares over all persons visited."""
        ledger, answers_ms = self.ledger, self.ledger.answers_ms
        return ClickCost(
            oks_threshold=self.oks_threshold,
            num_persons=len(self.refined.clicks),
            mean_clicks=_share(sum(self.refined.clicks), len(self.refined.clicks)),
            manual_mean_clicks=_share(sum(self.manual.clicks), len(self.manual.clicks)),
            num_failed=self.refined.num_failed,
            manual_num_failed=self.manual.num_failed,
            num_added=self.refined.num_added,
            num_spurious=self.num_spurious,
            harm=_share(ledger.num_harmed, ledger.num_within),
            help=_share(ledger.num_helped, ledger.num_outside),
            max_held_drift_px=ledger.max_held_drift_px,
            answer_ms=float(np.percentile(answers_ms, 50)) if answers_ms else float("nan"),
            answer_ms_p95=float(np.percentile(answers_ms, 95)) if answers_ms else float("nan"),
        )


def shows_someone(pose: Pose, image: AnnotatedImage) -> bool:
    """Tell whether a pose covers an annotated person, also one with only a box or in a crowd."""
    boxes = np.array([person.box_px for person in image.persons], np.float32).reshape(-1, 4)
    corners = np.maximum(boxes[:, :2], pose.box_px[:2]), np.minimum(boxes[:, 2:], pose.box_px[2:])
    shared = np.clip(corners[1] - corners[0], 0, None).prod(-1)
    own = max(float((pose.box_px[2:] - pose.box_px[:2]).prod()), 1.0)
    return bool((shared / own >= MIN_COVERED).any())


def answers_on(visit: Visit, predictor: PosePredictor, style: ClickStyle) -> Answers:
    """Return the answers of a predictor on one image, the same for all goals and strategies."""
    key = "answers", predictor, style.hold, style.rescore
    return visit.share(key, lambda: Answers(predictor, visit.encoded, style))


def clicks_per_person(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    *,
    oks_threshold: float = 0.9,
    cap: int | None = None,
    style: ClickStyle = DEFAULT_STYLE,
) -> ClickCost:
    """Measure the clicks per person until the person's OKS reaches ``oks_threshold``.

    A person gets at most ``cap`` corrections, by default as many as there are keypoints, and has failed if these are
    not enough. See ``visit_images`` for the other arguments and errors.
    """
    meter = CostMeter(predictor, oks_threshold, cap, style)
    visit_images(predictor, annotations, load_image, [meter])
    return meter.result()


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
