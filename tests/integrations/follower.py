"""A pose service that can be foretold: it finds two people, and who is dragged follows half the way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen

SKELETON = Skeleton.load("coco17")
SIZE_WH = (640, 480)
STANDING = [  # in shares of the box, apart enough for a mouse
    *[(0.5, 0.14), (0.6, 0.07), (0.4, 0.07), (0.72, 0.1), (0.28, 0.1), (0.8, 0.25), (0.2, 0.25)],
    *[(0.9, 0.4), (0.1, 0.4), (0.95, 0.55), (0.05, 0.55), (0.65, 0.55), (0.35, 0.55)],
    *[(0.65, 0.75), (0.35, 0.75), (0.65, 0.93), (0.35, 0.93)],
]

Place = tuple[float, float]


def standing(box_px: tuple[float, ...]) -> Pose:
    """Somebody who stands in that box, with one ear out of sight."""
    box = np.array(box_px, np.float32)
    visibility = np.full(len(SKELETON), 2)
    visibility[SKELETON.index("left_ear")] = 1
    return Pose(
        keypoints_px=(box[:2] + np.array(STANDING) * (box[2:] - box[:2])).astype(np.float32),
        visibility=visibility,
        scores=np.linspace(0.9, 0.5, len(SKELETON), dtype=np.float32),
        box_px=box,
        score=0.9,
        held=np.zeros(len(SKELETON), np.bool_),
    )


FOUND = [standing((40, 30, 280, 460)), standing((350, 30, 600, 460))]


@dataclass
class Follower:
    """A pose service: keypoints that are not held go half the way of the edited one since it was found."""

    skeleton: Skeleton = SKELETON
    delay_s: float = 0.0
    failure: Exception | None = None
    edits: list[KeypointEdit | PersonEdit] = field(default_factory=list)
    answers: int = 0

    async def model_version(self) -> str:
        return "follower-1"

    async def status(self) -> dict[str, Any]:
        return {"status": "ready"}

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        return PoseAnswer(FOUND, SIZE_WH, "follower-1")

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        self.edits.append(edit)
        await asyncio.sleep(self.delay_s)
        self.answers += 1
        if self.failure:
            raise self.failure
        assert isinstance(edit, KeypointEdit)
        poses = list(screen.saved)
        person = nearest(edit) if edit.person is None else edit.person
        pose, found = poses[person], FOUND[person]
        keypoints_px = np.where(pose.held[:, None], pose.keypoints_px, half_way(found, edit.keypoint, edit.xy_px))
        held = pose.held.copy()
        keypoints_px[edit.keypoint], held[edit.keypoint] = edit.xy_px, True
        poses[person] = replace(pose, keypoints_px=keypoints_px.astype(np.float32), held=held)
        return PoseAnswer(poses, SIZE_WH, "follower-1", person)


def nearest(edit: KeypointEdit) -> int:
    """Who had that keypoint nearest to the click from the start."""
    places = [found.keypoints_px[edit.keypoint] for found in FOUND]
    return int(np.linalg.norm(np.stack(places) - edit.xy_px, axis=1).argmin())


def half_way(found: Pose, keypoint: int, xy_px: Place) -> Any:
    """Where all keypoints go when one of them goes there."""
    return found.keypoints_px + (np.asarray(xy_px, np.float32) - found.keypoints_px[keypoint]) / 2
