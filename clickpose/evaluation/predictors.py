"""What evaluation asks of a predictor, and two that do not listen: manual correction and recorded results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from clickpose.annotations import ABSENT, VISIBLE, AnnotatedImage, Click, Pose
from clickpose.clicks import apply_clicks
from clickpose.errors import InvalidAnnotation
from clickpose.poses import SAME_PERSON_IOU
from clickpose.skeleton import Skeleton

Box: TypeAlias = tuple[float, float, float, float]


class PosePredictor(Protocol):
    """The calls of ``clickpose.predictor.Predictor`` that evaluation makes; all coordinates in pixels.

    Persons are independent: the answer to a click depends on the clicked pose, not on the other persons. What
    ``encode`` returns knows the picture's ``size_wh``.
    """

    @property
    def skeleton(self) -> Skeleton:
        """The schema of every pose."""

    def encode(self, image: Any) -> Any:
        """Do the costly part, once per picture."""

    def detect(
        self, encoded: Any, *, min_score: float | None = None, max_overlap: float = SAME_PERSON_IOU
    ) -> list[Pose]:
        """Return the persons, best first; a score of None stands for the model's own threshold."""

    def refine(
        self,
        encoded: Any,
        poses: Sequence[Pose],
        clicks: Sequence[Click],
        *,
        hold: str = "all",
        rescore: bool = False,
    ) -> list[Pose]:
        """Return as many poses in the same order, after some clicks."""

    def add_person(self, encoded: Any, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Return the poses and, last, a person who was missed."""


@dataclass(frozen=True)
class ManualCorrection:
    """A predictor that does not listen: its persons come from ``predictor``, a click moves one keypoint only."""

    predictor: PosePredictor

    @property
    def skeleton(self) -> Skeleton:
        """The schema of every pose."""
        return self.predictor.skeleton

    def encode(self, image: Any) -> Any:
        """Encode with the wrapped predictor."""
        return self.predictor.encode(image)

    def detect(
        self, encoded: Any, *, min_score: float | None = None, max_overlap: float = SAME_PERSON_IOU
    ) -> list[Pose]:
        """Detect with the wrapped predictor."""
        return self.predictor.detect(encoded, min_score=min_score, max_overlap=max_overlap)

    def refine(
        self,
        encoded: Any,
        poses: Sequence[Pose],
        clicks: Sequence[Click],
        *,
        hold: str = "all",
        rescore: bool = False,
    ) -> list[Pose]:
        """Move the clicked keypoints and nothing else."""
        return apply_clicks(poses, clicks, self.skeleton, encoded.size_wh)

    def add_person(self, encoded: Any, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Add a person with the wrapped predictor."""
        return self.predictor.add_person(encoded, poses, box_px)


class RecordedResults:
    """Poses that another model left in a file, as a predictor that does not listen.

    Its ``encode`` takes the ``AnnotatedImage`` itself, so evaluate it with ``load_image=lambda image: image``.
    """

    def __init__(self, skeleton: Skeleton, poses: Mapping[int, Sequence[Pose]], *, min_score: float = 0.0) -> None:
        """Serve ``poses``, by image id; an annotator is shown those of at least ``min_score``."""
        self.skeleton = skeleton
        self.poses = poses
        self.min_score = min_score

    def encode(self, image: AnnotatedImage) -> AnnotatedImage:
        """Return the picture's record: nothing is computed."""
        return image

    def detect(
        self,
        encoded: AnnotatedImage,
        *,
        min_score: float | None = None,
        max_overlap: float = SAME_PERSON_IOU,
    ) -> list[Pose]:
        """Return the recorded persons of at least ``min_score`` (None: as set in the beginning), best first.

        None is dropped for its overlap: that was up to whoever made the results.
        """
        lowest = self.min_score if min_score is None else min_score
        kept = [pose for pose in self.poses.get(encoded.id, ()) if pose.score >= lowest]
        return sorted(kept, key=lambda pose: -pose.score)

    def refine(
        self,
        encoded: AnnotatedImage,
        poses: Sequence[Pose],
        clicks: Sequence[Click],
        *,
        hold: str = "all",
        rescore: bool = False,
    ) -> list[Pose]:
        """Move the clicked keypoints and nothing else."""
        return apply_clicks(poses, clicks, self.skeleton, encoded.size_wh)

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


def convert_poses(poses: Mapping[int, Sequence[Pose]], source: Skeleton, target: Skeleton) -> dict[int, list[Pose]]:
    """Carry found persons over to another skeleton by keypoint name, as ``convert_set`` does the truth.

    Keypoints that only ``target`` has are absent and lie in the middle of the others: converted truths have no label
    there, so nobody clicks or counts them.

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
