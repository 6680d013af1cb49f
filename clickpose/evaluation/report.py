"""Everything we report about a model, in one pass over a data set: the content of its ``metrics.json``.

What each number is called, and what it means, is in ``metric_names``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clickpose.annotations import AnnotationSet, Pose, split_by_crowding
from clickpose.errors import InvalidConfig
from clickpose.evaluation.click_cost import CostMeter
from clickpose.evaluation.click_curve import CurveMeter
from clickpose.evaluation.click_style import DEFAULT_STYLE, GOALS, PUBLISHED_STYLE, ClickStyle
from clickpose.evaluation.coco_metrics import box_ap, keypoint_ap
from clickpose.evaluation.metric_names import Metrics, cost_metrics, curve_metrics, noc_metrics, partial_metrics, plain
from clickpose.evaluation.noc import NocMeter
from clickpose.evaluation.predictors import NamedImage, PosePredictor, StartedFrom
from clickpose.evaluation.visits import LoadImage, Meter, OnProgress, Visit, visit_images


class PrecisionMeter:
    """Collects the first pass for average precision."""

    def __init__(self) -> None:
        """Start with no image."""
        self.found: dict[int, list[Pose]] = {}
        self.shown = ShownPrecision()

    def visit(self, visit: Visit) -> None:
        """Keep the persons found in one image."""
        self.found[visit.image.id] = visit.candidates
        self.shown.visit(visit)

    def absorb(self, other: PrecisionMeter) -> None:
        """Add the images of another meter."""
        self.found |= other.found
        self.shown.poses |= other.shown.poses

    def result(self, annotations: AnnotationSet) -> Metrics:
        """Return COCO's numbers for keypoints of all hypotheses, of the persons shown, and for boxes."""
        boxes = {f"box/{name}": value for name, value in box_ap(annotations, self.found).items()}
        shown = {f"shown/{name}": value for name, value in self.shown.result(annotations).items()}
        return {**keypoint_ap(annotations, self.found), **shown, **boxes, **self._by_crowding(annotations)}

    def _by_crowding(self, annotations: AnnotationSet) -> Metrics:
        """Return the AP of easy, medium and hard images, of a data set with a crowd index."""
        metrics: Metrics = {}
        for name, share in split_by_crowding(annotations).items():
            found = {image.id: self.found[image.id] for image in share.images if image.id in self.found}
            metrics |= {f"{name}/{key}": value for key, value in keypoint_ap(share, found).items()}
        return metrics


class ShownPrecision:
    """Collects the persons who are shown, for the average precision of what an annotator gets to see."""

    def __init__(self) -> None:
        """Start with no image."""
        self.poses: dict[int, list[Pose]] = {}

    def visit(self, visit: Visit) -> None:
        """Keep the persons of one image."""
        self.poses[visit.image.id] = visit.shown

    def result(self, annotations: AnnotationSet) -> dict[str, float]:
        """Return COCO's numbers for keypoints."""
        return keypoint_ap(annotations, self.poses)


@dataclass(frozen=True)
class Simulation:
    """The simulated annotator: styles, number of clicks, and goals.

    Attributes:
        rounds: style of clicks in rounds, for the curve and the published number of clicks.
        persons: style of correcting person after person, for clicks per person.
        max_clicks: rounds of the curve.
        goals: AP of an image for the number of clicks, and OKS of a person for clicks per person.
        scored: names of keypoints that the curve is scored on once more, alone, by a name for them (table 12).

    Raises:
        InvalidConfig: max_clicks is negative.
    """

    rounds: ClickStyle = PUBLISHED_STYLE
    persons: ClickStyle = DEFAULT_STYLE
    max_clicks: int = 4
    goals: Sequence[float] = GOALS
    scored: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the number of clicks."""
        if self.max_clicks < 0:
            raise InvalidConfig(f"the curve needs 0 or more clicks, not {self.max_clicks}")

    def styled(self, **changes: Any) -> Simulation:
        """Return the same with some attributes of both click styles changed."""
        return replace(self, rounds=replace(self.rounds, **changes), persons=replace(self.persons, **changes))


class SimulationMeters:
    """Everything that one simulation measures."""

    def __init__(self, predictor: PosePredictor, simulation: Simulation) -> None:
        """Prepare a meter for each measure."""
        self.curve, self.scored = CurveMeter(predictor, simulation.max_clicks, simulation.rounds), simulation.scored
        self.noc = NocMeter(predictor, simulation.goals, simulation.rounds)
        self.costs = [CostMeter(predictor, goal, style=simulation.persons) for goal in simulation.goals]

    def visit(self, visit: Visit) -> None:
        """Show one image to each."""
        for meter in self._meters():
            meter.visit(visit)

    def absorb(self, other: SimulationMeters) -> None:
        """Add the images of another simulation behind our own."""
        for ours, theirs in zip(self._meters(), other._meters(), strict=True):
            ours.absorb(theirs)

    def _meters(self) -> list[Any]:
        return [self.curve, self.noc, *self.costs]

    def result(self) -> Metrics:
        """Return the numbers of all."""
        metrics = curve_metrics(self.curve.result()) | noc_metrics(self.noc.result())
        for name, keypoints in self.scored.items():
            metrics |= {f"{name}/{key}": value for key, value in partial_metrics(self.curve.result(keypoints)).items()}
        for cost in self.costs:
            metrics |= cost_metrics(cost.result())
        return metrics


def evaluate(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    simulation: Simulation | None = None,
    *,
    progress: OnProgress | None = None,
) -> Metrics:
    """Measure a model with the clicks of one annotator, for a model card and ``metrics.json``.

    Args:
        predictor: the model; ``ManualCorrection`` or ``RecordedResults`` for one that ignores clicks.
        annotations: the truth, in the predictor's skeleton.
        load_image: returns the image of a record.
        simulation: the annotator; None for the published one.
        progress: called with (images done, images in all).

    Raises:
        InvalidAnnotation: the annotations have other keypoints than the predictor.
    """
    simulations = {"": simulation or Simulation()}
    (metrics,) = evaluate_all(predictor, annotations, load_image, simulations, progress=progress).values()
    return metrics


def evaluate_all(
    predictor: PosePredictor,
    annotations: AnnotationSet,
    load_image: LoadImage,
    simulations: Mapping[str, Simulation],
    *,
    meters: Sequence[Meter] = (),
    progress: OnProgress | None = None,
) -> dict[str, Metrics]:
    """Measure a model with the clicks of several annotators in one pass; return what ``evaluate`` does, by name.

    What does not depend on the annotator is measured once. ``meters`` come along; see ``evaluate`` for the rest.
    """
    measured = DataSetMeters(predictor, simulations)
    visit_images(predictor, annotations, load_image, [measured, *meters], progress)
    return measured.result(annotations)


class DataSetMeters:
    """Everything that several simulations measure; without the predictor, so that workers can return it."""

    def __init__(self, predictor: PosePredictor, simulations: Mapping[str, Simulation]) -> None:
        """Prepare for no image."""
        self.precision = PrecisionMeter()
        self.simulated = {name: SimulationMeters(predictor, simulation) for name, simulation in simulations.items()}

    def visit(self, visit: Visit) -> None:
        """Show one image to each."""
        self.precision.visit(visit)
        for meters in self.simulated.values():
            meters.visit(visit)

    def absorb(self, other: DataSetMeters) -> None:
        """Add the images of another worker behind our own: the result is that of one pass in that order."""
        self.precision.absorb(other.precision)
        for name, meters in self.simulated.items():
            meters.absorb(other.simulated[name])

    def result(self, annotations: AnnotationSet) -> dict[str, Metrics]:
        """Return the numbers of each simulation; ``annotations`` are those of all images visited."""
        first_pass = self.precision.result(annotations)
        counts: Metrics = {"num_images": len(annotations), "num_persons": annotations.num_persons}
        return {name: plain(first_pass | meter.result() | counts) for name, meter in self.simulated.items()}


class StartMeters:
    """The same of our loop on another model's first guesses, on images that our model encodes anyway."""

    def __init__(self, started: StartedFrom, simulations: Mapping[str, Simulation]) -> None:
        """Prepare for no image."""
        self.started, self.measured = started, DataSetMeters(started, simulations)

    def visit(self, visit: Visit) -> None:
        """Start over on one image, from the other model's persons."""
        encoded = NamedImage(visit.image.id, visit.encoded)
        self.measured.visit(Visit(visit.image, encoded, self.started.detect(encoded), self.started))

    def result(self, annotations: AnnotationSet) -> dict[str, Metrics]:
        """Return the numbers of each simulation."""
        return self.measured.result(annotations)
