"""The style of a simulated annotator, and the rounds of clicks that result from it.

A round is one click on every matched person. ``progressive`` rounds refine after each round, so the next click sees
the answer to the last; ``at-once`` rounds choose the first n clicks on the first pass and refine once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from clickpose.annotations import AnnotatedImage, Click, Pose
from clickpose.clicks import HOLDS, apply_clicks
from clickpose.errors import InvalidConfig
from clickpose.evaluation.annotators import SimulatedAnnotator, check_strategy
from clickpose.evaluation.loop import Refine, take_turns
from clickpose.evaluation.predictors import PosePredictor
from clickpose.skeleton import Skeleton

GOALS = (0.85, 0.90, 0.95)  # AP of an image for the published NoC, OKS of a person for clicks per person
CLICKS_TO_ADD = {"box": 2, "click": 1}  # two corners of a box, or one keypoint, which is held from then on
EVERY_KEYPOINT = float("inf")  # a tolerance that no similarity reaches: even a tiny error is worth a click


@dataclass(frozen=True)
class ClickRound:
    """The persons of an image after some clicks on each of them.

    Attributes:
        poses: as the model answers.
        unanswered: before it answers to the last click: where that click moved keypoints, and nothing else.
    """

    poses: list[Pose]
    unanswered: list[Pose]


ClickRounds: TypeAlias = Iterator[ClickRound]


@dataclass(frozen=True)
class ClickStyle:
    """The style of a simulated annotator.

    Attributes:
        strategy: which keypoint first: ``worst``, ``farthest``, ``random`` or ``low-score``.
        noise: standard deviation of the clicks, in units of COCO's own annotators; 0 clicks the truth exactly.
        seed: of the noise and the random strategy.
        loop: the kind of rounds, ``progressive`` or ``at-once``.
        hold: which clicks a refine may not move: ``all``, ``current`` or ``none``.
        rescore: take persons' scores from the last refine, not from the first pass.
        add: how a missed person is added, by drawing a ``box`` or by a ``click`` on one keypoint.
        keypoints: names of those that may be clicked; None for all.

    Raises:
        InvalidConfig: there is no such strategy, loop, hold or way to add, or the noise is negative.
    """

    strategy: str = "worst"
    noise: float = 0.0
    seed: int = 0
    loop: str = "progressive"
    hold: str = "all"
    rescore: bool = False
    add: str = "box"
    keypoints: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the names and the noise."""
        check_strategy(self.strategy)
        if self.loop not in LOOPS:
            raise InvalidConfig(f"no click loop {self.loop!r}: choose one of {', '.join(LOOPS)}")
        if self.hold not in HOLDS:
            raise InvalidConfig(f"no hold {self.hold!r}: choose one of {', '.join(HOLDS)}")
        if self.add not in CLICKS_TO_ADD:
            raise InvalidConfig(f"no way to add a person {self.add!r}: choose one of {', '.join(CLICKS_TO_ADD)}")
        if not 0 <= self.noise < float("inf"):
            raise InvalidConfig(f"the noise of clicks must be 0 or more, not {self.noise}")

    def annotator(self, image: AnnotatedImage, skeleton: Skeleton, tolerance: float) -> SimulatedAnnotator:
        """Return an annotator of this style for one image."""
        return SimulatedAnnotator(image, skeleton, self.strategy, tolerance, self.noise, self.seed, self.keypoints)

    def refiner(self, predictor: PosePredictor, encoded: Any) -> Refine:
        """Return the function that answers clicks on an image: ``predictor.published_round`` if this style rescores."""
        answer = predictor.published_round if self.rescore else predictor.refine
        return partial(answer, encoded, hold=self.hold)

    def play(self, poses: Sequence[Pose], annotator: SimulatedAnnotator, refine: Refine) -> ClickRounds:
        """Yield the state before the first round and after each one, without end."""
        return LOOPS[self.loop](poses, annotator, refine)


def play_progressive(poses: Sequence[Pose], annotator: SimulatedAnnotator, refine: Refine) -> ClickRounds:
    """Yield the state before the first round and after each; every round clicks on the answer to the last."""
    yield ClickRound(list(poses), list(poses))
    for turn in take_turns(poses, annotator.correct_each, refine):
        poses = turn.poses
        yield ClickRound(turn.poses, _mark(turn.before, turn.clicks, annotator))
    while True:
        yield ClickRound(list(poses), list(poses))


def play_at_once(poses: Sequence[Pose], annotator: SimulatedAnnotator, refine: Refine) -> ClickRounds:
    """Yield, for n = 0, 1, ..., the first pass refined once with the n most urgent clicks on each person."""
    clicks: list[Click] = []
    marked = list(poses)
    while True:
        yield ClickRound(refine(poses, clicks) if clicks else list(poses), marked)
        more = annotator.correct_each(marked)
        marked = _mark(marked, more, annotator)
        clicks = clicks + more


def _mark(poses: Sequence[Pose], clicks: Sequence[Click], annotator: SimulatedAnnotator) -> list[Pose]:
    return apply_clicks(poses, clicks, annotator.skeleton, annotator.image.size_wh)


LOOPS: dict[str, Callable[[Sequence[Pose], SimulatedAnnotator, Refine], ClickRounds]] = {
    "progressive": play_progressive,
    "at-once": play_at_once,
}

DEFAULT_STYLE = ClickStyle()
# as in the published evaluation, except for the hold, which it sets without effect
PUBLISHED_STYLE = ClickStyle(strategy="farthest", rescore=True)
