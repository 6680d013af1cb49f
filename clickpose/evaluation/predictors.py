"""The interface that evaluation needs from a predictor, and two that ignore clicks: by hand, and recorded results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from clickpose.annotations import ABSENT, VISIBLE, AnnotatedImage, Click, Pose
from clickpose.clicks import apply_clicks
from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton

Box: TypeAlias = tuple[float, float, float, float]


class PosePredictor(Protocol):
    """The calls of ``clickpose.predictor.Predictor`` that evaluation makes; all coordinates in pixels.

    Persons are independent: the answer to a click depends on the clicked pose, not on the other persons. What
    ``encode`` returns knows the image's ``size_wh``.
    """

    @property
    def skeleton(self) -> Skeleton:
        """The schema of every pose."""

    def encode(self, image: Any) -> Any:
        """Do the costly part, once per image."""

    def hypotheses(self, encoded: Any) -> list[Pose]:
        """Return every pose found, best first; several may show one person."""

    def detect(self, encoded: Any) -> list[Pose]:
        """Return the persons that an annotator is shown, best first."""

    def refine(self, encoded: Any, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all") -> list[Pose]:
        """Return as many poses in the same order, after some clicks."""

    def published_round(
        self, encoded: Any, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Refine all persons, as the published loop does: their scores may change."""

    def add_person(self, encoded: Any, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Return the poses and, last, a missed person."""

    def add_person_at(
        self, encoded: Any, poses: Sequence[Pose], keypoint: str | int, xy_px: tuple[float, float]
    ) -> list[Pose]:
        """Return the poses and, last, a missed person with a keypoint at a place; it is held."""


class IgnoresClicks:
    """A predictor without a model behind its clicks: a click moves one keypoint and nothing else."""

    skeleton: Skeleton

    def refine(self, encoded: Any, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all") -> list[Pose]:
        """Move the clicked keypoints."""
        return apply_clicks(poses, clicks, self.skeleton, encoded.size_wh)

    def published_round(
        self, encoded: Any, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Move the clicked keypoints; scores stay."""
        return self.refine(encoded, poses, clicks)


@dataclass(frozen=True)
class ManualCorrection(IgnoresClicks):
    """Manual correction: the persons of ``predictor``, every keypoint of them moved by hand."""

    predictor: PosePredictor

    @property
    def skeleton(self) -> Skeleton:  # type: ignore[override]
        """The schema of every pose."""
        return self.predictor.skeleton

    def encode(self, image: Any) -> Any:
        """Encode with the wrapped predictor."""
        return self.predictor.encode(image)

    def hypotheses(self, encoded: Any) -> list[Pose]:
        """Ask the wrapped predictor."""
        return self.predictor.hypotheses(encoded)

    def detect(self, encoded: Any) -> list[Pose]:
        """Detect with the wrapped predictor."""
        return self.predictor.detect(encoded)

    def add_person(self, encoded: Any, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Add a person with the wrapped predictor."""
        return self.predictor.add_person(encoded, poses, box_px)

    def add_person_at(
        self, encoded: Any, poses: Sequence[Pose], keypoint: str | int, xy_px: tuple[float, float]
    ) -> list[Pose]:
        """Add a person with the wrapped predictor."""
        return self.predictor.add_person_at(encoded, poses, keypoint, xy_px)


@dataclass(frozen=True)
class NamedImage:
    """An image with the id of its record, before or after it was encoded."""

    id: int
    content: Any

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels, once it is encoded."""
        size_wh: tuple[int, int] = self.content.size_wh
        return size_wh


@dataclass(frozen=True, eq=False)
class StartedFrom:
    """Our loop on the first guesses of another model: its persons are shown, ``predictor`` refines and adds.

    Its ``encode`` takes a ``NamedImage``, so evaluate it with a ``load_image`` that returns one.
    """

    predictor: PosePredictor
    poses: Mapping[int, Sequence[Pose]]

    @property
    def skeleton(self) -> Skeleton:
        """The schema of every pose."""
        return self.predictor.skeleton

    def encode(self, image: NamedImage) -> NamedImage:
        """Encode with the wrapped predictor."""
        return NamedImage(image.id, self.predictor.encode(image.content))

    def hypotheses(self, encoded: NamedImage) -> list[Pose]:
        """Return the other model's persons, best first."""
        return sorted(self.poses.get(encoded.id, ()), key=lambda pose: -pose.score)

    detect = hypotheses

    def refine(
        self, encoded: NamedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Refine with the wrapped predictor."""
        return self.predictor.refine(encoded.content, poses, clicks, hold=hold)

    def published_round(
        self, encoded: NamedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Run the published round with the wrapped predictor."""
        return self.predictor.published_round(encoded.content, poses, clicks, hold=hold)

    def add_person(self, encoded: NamedImage, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Add a person with the wrapped predictor."""
        return self.predictor.add_person(encoded.content, poses, box_px)

    def add_person_at(
        self, encoded: NamedImage, poses: Sequence[Pose], keypoint: str | int, xy_px: tuple[float, float]
    ) -> list[Pose]:
        """Add a person with the wrapped predictor."""
        return self.predictor.add_person_at(encoded.content, poses, keypoint, xy_px)


class RecordedResults(IgnoresClicks):
    """Poses of another model from a file, corrected by hand.

    Its ``encode`` takes the ``AnnotatedImage`` itself, so evaluate it with ``load_image=lambda image: image``.
    """

    def __init__(self, skeleton: Skeleton, poses: Mapping[int, Sequence[Pose]], *, min_score: float = 0.0) -> None:
        """Serve ``poses``, by image id; an annotator is shown those of at least ``min_score``."""
        self.skeleton = skeleton
        self.poses = poses
        self.min_score = min_score

    def encode(self, image: AnnotatedImage) -> AnnotatedImage:
        """Return the image's record: nothing is computed."""
        return image

    def hypotheses(self, encoded: AnnotatedImage) -> list[Pose]:
        """Return all recorded persons, best first."""
        return sorted(self.poses.get(encoded.id, ()), key=lambda pose: -pose.score)

    def detect(self, encoded: AnnotatedImage) -> list[Pose]:
        """Return the recorded persons of at least ``min_score``, best first; overlapping ones are kept."""
        return [pose for pose in self.hypotheses(encoded) if pose.score >= self.min_score]

    def add_person(self, encoded: AnnotatedImage, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Add a person whose keypoints all lie in the middle of the box: there is no model to place them."""
        x0, y0, x1, y1 = box_px
        num_keypoints = len(self.skeleton)
        middle_px = np.array([(x0 + x1) / 2, (y0 + y1) / 2], np.float32)
        added = Pose(
            keypoints_px=np.tile(middle_px, (num_keypoints, 1)),
            visibility=np.full(num_keypoints, VISIBLE),
            scores=np.zeros(num_keypoints, np.float32),
            box_px=np.array(box_px, np.float32),
            score=1.0,
            held=np.zeros(num_keypoints, bool),
        )
        return [*poses, added]

    def add_person_at(
        self, encoded: AnnotatedImage, poses: Sequence[Pose], keypoint: str | int, xy_px: tuple[float, float]
    ) -> list[Pose]:
        """Add a person whose keypoints all lie at the one that was placed."""
        x, y = xy_px
        added = self.add_person(encoded, poses, (x, y, x, y))
        return self.refine(encoded, added, [Click(len(poses), keypoint, xy_px)])


def convert_poses(poses: Mapping[int, Sequence[Pose]], source: Skeleton, target: Skeleton) -> dict[int, list[Pose]]:
    """Convert found persons to another skeleton by keypoint name, as ``convert_set`` does the truth.

    Keypoints that only ``target`` has are absent and lie in the middle of the others: converted truths have no label
    there, so they are neither clicked nor counted.

    Raises:
        InvalidAnnotation: the skeletons share no keypoint.
    """
    if source.keypoints == target.keypoints:
        return {id: list(found) for id, found in poses.items()}
    shared = source.shared_with(target)
    if not shared:
        raise InvalidAnnotation(f"skeletons {source.name!r} and {target.name!r} share no keypoint name")
    return {id: [_convert(pose, shared, len(target)) for pose in found] for id, found in poses.items()}


def _convert(pose: Pose, shared: Sequence[tuple[int, int]], num_keypoints: int) -> Pose:
    ours, theirs = [j for _, j in shared], [i for i, _ in shared]
    keypoints_px = np.tile(pose.keypoints_px[theirs].mean(0), (num_keypoints, 1))
    visibility, scores = np.full(num_keypoints, ABSENT), np.zeros(num_keypoints, np.float32)
    held = np.zeros(num_keypoints, bool)
    keypoints_px[ours], visibility[ours] = pose.keypoints_px[theirs], pose.visibility[theirs]
    scores[ours], held[ours] = pose.scores[theirs], pose.held[theirs]
    return replace(pose, keypoints_px=keypoints_px, visibility=visibility, scores=scores, held=held)
