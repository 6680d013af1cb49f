"""Request and response bodies of the REST interface: pixels, and lists in the order of the skeleton's keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clickpose.annotations import Click, Pose
from integrations.label_studio.service import PoseAnswer
from serve.monitoring.replica_status import ReplicaStatus

MAX_PERSONS = 1000
MAX_CLICKS = 1000
MAX_PX = 1e9  # no image is that large, and its square still fits float32

Px = Annotated[float, Field(ge=-MAX_PX, le=MAX_PX)]
XY = tuple[Px, Px]
Box = tuple[Px, Px, Px, Px]
Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
Share = Annotated[float, Field(ge=0, le=1)]
ImageName = Annotated[str, Field(min_length=1, max_length=4096)]


EXAMPLE_CLICK = {"person": 0, "keypoint": 0, "xy_px": [65.0, 30.0]}
EXAMPLE_BOX = [20.0, 10.0, 120.0, 110.0]


def example_pose(num_keypoints: int) -> dict[str, Any]:
    """Return a pose with this many keypoints, for the descriptions of routes."""
    return {
        "keypoints_px": [[60.0, 20.0 + k] for k in range(num_keypoints)],
        "visibility": [2] * num_keypoints,
        "scores": [0.9] * num_keypoints,
        "box_px": EXAMPLE_BOX,
        "score": 0.9,
        "held": [False] * num_keypoints,
    }


def fill_examples(document: dict[str, Any], num_keypoints: int) -> dict[str, Any]:
    """Give the example poses of an OpenAPI document as many keypoints as the served skeleton has."""
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            if "poses" in example:
                example["poses"] = [example_pose(num_keypoints)]
    return document


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(_Body):
    """Why a request failed, in one sentence."""

    detail: str


class PoseBody(_Body):
    """One person; see ``clickpose.annotations.Pose``."""

    keypoints_px: list[XY]
    visibility: list[Literal[0, 1, 2]]
    scores: list[Share]
    box_px: Box
    score: Share
    held: list[bool]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({len(self.keypoints_px), len(self.visibility), len(self.scores), len(self.held)}) != 1:
            raise ValueError("keypoints_px, visibility, scores and held differ in length")
        return self

    def to_pose(self) -> Pose:
        """Convert to the value that the predictor uses."""
        return Pose(
            np.array(self.keypoints_px, np.float32).reshape(-1, 2),
            np.array(self.visibility, np.int64),
            np.array(self.scores, np.float32),
            np.array(self.box_px, np.float32),
            self.score,
            np.array(self.held, np.bool_),
        )

    @classmethod
    def of(cls, pose: Pose) -> Self:
        """Convert a pose."""
        return cls(
            keypoints_px=pose.keypoints_px.tolist(),
            visibility=pose.visibility.tolist(),
            scores=pose.scores.tolist(),
            box_px=tuple(pose.box_px.tolist()),
            score=float(pose.score),
            held=pose.held.tolist(),
        )


class ClickBody(_Body):
    """One click; see ``clickpose.annotations.Click``."""

    person: Annotated[int, Field(ge=0)]
    keypoint: str | int
    xy_px: XY
    visibility: Literal[0, 1, 2] = 2

    def to_click(self) -> Click:
        """Convert to the value that the predictor uses."""
        return Click(self.person, self.keypoint, self.xy_px, self.visibility)


class DetectRequest(_Body):
    """Detect every person in an image, given by URL or path."""

    model_config = _example(image="photos/one.jpg")

    image: ImageName


class RefineRequest(_Body):
    """Refine the caller's poses by clicks; send held keypoints back as they were returned."""

    model_config = _example(image="photos/one.jpg", poses=[example_pose(2)], clicks=[EXAMPLE_CLICK])

    image: ImageName
    poses: Annotated[list[PoseBody], Field(max_length=MAX_PERSONS)]
    clicks: Annotated[list[ClickBody], Field(max_length=MAX_CLICKS)]
    hold: Literal["all", "current", "none"] = "all"


class AddPersonRequest(_Body):
    """Add the person inside a box to the caller's poses."""

    model_config = _example(image="photos/one.jpg", poses=[example_pose(2)], box_px=EXAMPLE_BOX)

    image: ImageName
    poses: Annotated[list[PoseBody], Field(max_length=MAX_PERSONS)] = []
    box_px: Box


class OpenRequest(_Body):
    """Open an image, with detected poses or with the given ones."""

    model_config = _example(image="photos/one.jpg")

    image: ImageName
    poses: Annotated[list[PoseBody], Field(max_length=MAX_PERSONS)] | None = None


class ClicksBody(_Body):
    """Clicks on an open image."""

    model_config = _example(clicks=[EXAMPLE_CLICK])

    clicks: Annotated[list[ClickBody], Field(max_length=MAX_CLICKS)]
    hold: Literal["all", "current", "none"] = "all"


class BoxBody(_Body):
    """A box around a person."""

    model_config = _example(box_px=EXAMPLE_BOX)

    box_px: Box


class UploadedResponse(_Body):
    """The name of an uploaded image, accepted by every route."""

    image: str


class PosesResponse(_Body):
    """All persons, the image's width and height in pixels, and the version of the model that answered."""

    poses: list[PoseBody]
    size_wh: tuple[int, int]
    model_version: str

    @classmethod
    def of(cls, answer: PoseAnswer) -> Self:
        """Convert an answer."""
        poses = [PoseBody.of(pose) for pose in answer.poses]
        return cls(poses=poses, size_wh=answer.size_wh, model_version=answer.model_version)


class OpenedResponse(PosesResponse):
    """All persons in the image that was opened, and the key for the next steps."""

    key: str

    @classmethod
    def opened(cls, key: str, answer: PoseAnswer) -> Self:
        """Convert the first answer."""
        return cls(key=key, **dict(PosesResponse.of(answer)))


class SkeletonResponse(_Body):
    """Names and order of the keypoints; links and flip pairs are pairs of their indices."""

    name: str
    keypoints: list[str]
    sigmas: list[float]
    links: list[Pair]
    flip_pairs: list[Pair]
    parents: dict[str, str]


class StatusResponse(_Body):
    """Every replica's last status, the versions served, and the ingress that answered."""

    ready: bool
    model_version: str
    versions: list[str]
    refused: list[str]
    replicas: list[ReplicaStatus]
    ingress: str
    webhook_events: int


def to_poses(bodies: Sequence[PoseBody]) -> list[Pose]:
    """Convert to the values that the predictor uses."""
    return [body.to_pose() for body in bodies]
