"""Rounds of clicks as the Click-Pose paper plays them, each computed once for all measures that look at them.

The 20 best persons of an image are matched to the annotated ones once; each round clicks one keypoint of every
matched person, even if it is off by very little, and refines all 20. Images without a labelled person are left out.
One difference to the published code remains: clicks are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Generic, TypeVar

from clickpose.annotations import Pose
from clickpose.evaluation.click_style import EVERY_KEYPOINT, ClickRound, ClickRounds, ClickStyle
from clickpose.evaluation.matching import match_as_published
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.visits import Visit
from clickpose.skeleton import Skeleton

NUM_LOOP_PERSONS = 20  # of the published loop; also as many as COCO counts in an image

T = TypeVar("T")


class Replay(Generic[T]):
    """An endless iterator to be read any number of times; an element is computed when it is first needed."""

    def __init__(self, source: Iterator[T]) -> None:
        """Read from ``source``, which must not be read elsewhere."""
        self._source = source
        self.computed: list[T] = []

    def __iter__(self) -> Iterator[T]:
        """Start from the first element."""
        for index in count():
            if index == len(self.computed):
                self.computed.append(next(self._source))
            yield self.computed[index]


def play_rounds(predictor: PosePredictor, visit: Visit, style: ClickStyle) -> Replay[ClickRound]:
    """Return the state of an image's 20 best persons before the first round and after each one, without end."""
    return visit.share(("rounds", predictor, style), lambda: Replay(_play(predictor, visit, style)))


def loop_matches(visit: Visit, skeleton: Skeleton) -> dict[int, int]:
    """Return which of the rounds' persons shows which labelled one: ``{index of pose: index of person}``."""
    first = visit.candidates[:NUM_LOOP_PERSONS]
    return visit.share("matches", lambda: match_as_published(first, visit.image, skeleton))


def _play(predictor: PosePredictor, visit: Visit, style: ClickStyle) -> ClickRounds:
    poses = visit.candidates[:NUM_LOOP_PERSONS]
    annotator = style.annotator(visit.image, predictor.skeleton, EVERY_KEYPOINT)
    annotator.match_as_published(poses)
    return style.play(poses, annotator, style.refiner(predictor, visit.encoded))


def with_scores_of(first: Sequence[Pose], poses: Sequence[Pose]) -> list[Pose]:
    """Return the poses with the scores that the same persons have in ``first``."""
    return [replace(pose, score=before.score) for pose, before in zip(poses, first, strict=True)]


def same_scores(first: Sequence[Pose], poses: Sequence[Pose]) -> bool:
    """Tell whether every person has the score it has in ``first``."""
    return [pose.score for pose in poses] == [pose.score for pose in first]
