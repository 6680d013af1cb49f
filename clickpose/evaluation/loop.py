"""The loop, written once: an annotator and a model take turns.

Simulated annotators use it in every measure; the demo's annotator plays it through Label Studio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from clickpose.annotations import Click, Pose
from clickpose.evaluation.annotators import Annotator
from clickpose.evaluation.predictors import PosePredictor

Correct: TypeAlias = Callable[[Sequence[Pose]], Sequence[Click]]
Refine: TypeAlias = Callable[[Sequence[Pose], Sequence[Click]], list[Pose]]


@dataclass(frozen=True)
class Turn:
    """Some clicks and the model's answer to them.

    Attributes:
        before: the poses that were corrected.
        clicks: at least one.
        poses: as the model answers.
    """

    before: Sequence[Pose]
    clicks: Sequence[Click]
    poses: list[Pose]


def take_turns(poses: Sequence[Pose], correct: Correct, refine: Refine) -> Iterator[Turn]:
    """Alternate annotator and model; yield each turn, until there is nothing left to correct.

    Args:
        poses: at first.
        correct: returns clicks on the poses shown, or none when they are good enough.
        refine: returns the poses after these clicks.
    """
    while clicks := correct(poses):
        turn = Turn(poses, clicks, refine(poses, clicks))
        yield turn
        poses = turn.poses


def one_at_a_time(correct: Callable[[Sequence[Pose]], Click | None]) -> Correct:
    """Make a function that returns turns of single clicks, from one that returns the next click or None."""

    def clicks(poses: Sequence[Pose]) -> list[Click]:
        click = correct(poses)
        return [] if click is None else [click]

    return clicks


def annotate(predictor: PosePredictor, image: Any, annotator: Annotator, *, max_clicks: int) -> list[Pose]:
    """Annotate an image: add the persons that the model missed, then correct until nothing is left or allowed.

    Adding a person does not count towards ``max_clicks``.
    """
    encoded = predictor.encode(image)
    poses = predictor.detect(encoded)
    for box_px in annotator.find_missed(poses):
        poses = predictor.add_person(encoded, poses, box_px)
    refine = partial(predictor.refine, encoded)
    for turn in islice(take_turns(poses, one_at_a_time(annotator.correct), refine), max_clicks):
        poses = turn.poses
    return poses
