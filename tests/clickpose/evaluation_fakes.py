"""What tests of the evaluation need and none is about: poses wrong by design, and models that know the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, Click, PersonAnnotation, Pose
from clickpose.evaluation import RecordedResults
from clickpose.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
FAR_PX = 300.0


def make_pose(person: PersonAnnotation, wrong: Sequence[int] = (), score: float = 0.9) -> Pose:
    """A pose that is right but for some keypoints."""
    keypoints_px = person.keypoints_px.copy()
    keypoints_px[list(wrong)] += FAR_PX
    num_keypoints = len(keypoints_px)
    return Pose(
        keypoints_px=keypoints_px,
        visibility=np.full(num_keypoints, 2),
        scores=np.linspace(0.9, 0.1, num_keypoints, dtype=np.float32),
        box_px=person.box_px,
        score=score,
        held=np.zeros(num_keypoints, bool),
    )


def labelled(person: PersonAnnotation) -> list[int]:
    return np.flatnonzero(person.visibility).tolist()


def by_hand(annotations: AnnotationSet, num_wrong: int) -> RecordedResults:
    """Persons with their first labelled keypoints wrong, and a model that does not listen."""
    poses = {
        image.id: [make_pose(p, labelled(p)[:num_wrong], score=0.9 - 0.1 * i) for i, p in enumerate(image.persons)]
        for image in annotations.images
    }
    return RecordedResults(annotations.skeleton, poses)


class Listener(RecordedResults):
    """Knows the truth: one click on a person, and every free keypoint is right. Shifts placed ones by ``drift_px``."""

    def __init__(self, annotations: AnnotationSet, results: RecordedResults, drift_px: float = 0.0) -> None:
        super().__init__(results.skeleton, results.poses)
        self.persons = {image.id: image.persons for image in annotations.images}
        self.drift_px = drift_px
        self.num_encoded = 0

    def encode(self, image: AnnotatedImage) -> AnnotatedImage:
        self.num_encoded += 1
        return image

    def refine(
        self, encoded: AnnotatedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        return self.follow(encoded, poses, clicks, rescore=False)

    def published_round(
        self, encoded: AnnotatedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        return self.follow(encoded, poses, clicks, rescore=True)

    def follow(
        self, encoded: AnnotatedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, rescore: bool
    ) -> list[Pose]:
        clicked, persons = super().refine(encoded, poses, clicks), {click.person for click in clicks}
        return [self.answer(pose, encoded, rescore) if i in persons else pose for i, pose in enumerate(clicked)]

    def answer(self, pose: Pose, image: AnnotatedImage, rescore: bool) -> Pose:
        truth = min(self.persons[image.id], key=lambda person: np.abs(person.box_px - pose.box_px).sum())
        placed_px = pose.keypoints_px + np.float32(self.drift_px)
        keypoints_px = np.where(pose.held[:, None], placed_px, truth.keypoints_px)
        return replace(pose, keypoints_px=keypoints_px, score=0.5 * pose.score if rescore else pose.score)


class Confused(Listener):
    """After a click the person found wrongly has the best score of all."""

    def hypotheses(self, encoded: AnnotatedImage) -> list[Pose]:
        poses = super().hypotheses(encoded)
        stray = replace(poses[0], keypoints_px=poses[0].keypoints_px + FAR_PX, score=0.6)
        return [*poses, stray]


def record(image: AnnotatedImage) -> AnnotatedImage:
    """Recorded results need no image."""
    return image
