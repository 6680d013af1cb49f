"""The values of pre-labelling (models, shards, images with their poses), and their rows on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from pipeline.listing import ListedImage

WORTH = ("expected_clicks", "movement", "mirror_difference")  # columns by which images are selected
FILE_FIELDS = [
    ("image", pa.string()),
    ("uri", pa.string()),
    ("num_bytes", pa.int64()),
    ("modified", pa.timestamp("ns", tz="UTC")),
]
IMAGE_SCHEMA = pa.schema(
    [
        *FILE_FIELDS,
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("num_persons", pa.int32()),
        ("expected_clicks", pa.float32()),
        ("movement", pa.float32()),
        ("mirror_difference", pa.float32()),
        ("appearance", pa.list_(pa.float32())),  # Parquet cannot read a missing list of a fixed size
    ]
)
PERSON_SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("person", pa.int32()),
        ("box", pa.list_(pa.float32(), 4)),
        ("score", pa.float32()),
        ("keypoints", pa.list_(pa.list_(pa.float32(), 3))),
        ("visibility", pa.list_(pa.int8())),
    ]
)
FAILED_SCHEMA = pa.schema([*FILE_FIELDS, ("reason", pa.string())])


@dataclass(frozen=True)
class Model:
    """The model that labels.

    Attributes:
        version: its name: the last part of its folder.
        folder: path or URI.
        digest: hash of its weights and settings, independent of the folder's place.
        skeleton: of the poses.
    """

    version: str
    folder: str
    digest: str
    skeleton: Skeleton


@dataclass(frozen=True)
class Shard:
    """Images that are labelled together, by name."""

    name: str
    images: tuple[ListedImage, ...]


@dataclass(frozen=True)
class Prelabel:
    """A labelled image.

    Attributes:
        image: which one.
        size_wh: width and height in pixels.
        poses: of all persons, best first; empty if none was found.
        model_version: the model that labelled.
        expected_clicks: expected number of clicks to correct it; see ``clickpose.expected_clicks``.
        movement: how far poses move in one more round without a click; see ``stability.movement``.
        mirror_difference: how far poses differ in the mirrored image; NaN if that was not predicted.
        appearance: of its persons to the model, a few numbers, if that is known; see ``Predictor.appearance``.
    """

    image: ListedImage
    size_wh: tuple[int, int]
    poses: tuple[Pose, ...]
    model_version: str
    expected_clicks: float = 0.0
    movement: float = 0.0
    mirror_difference: float = math.nan
    appearance: tuple[float, ...] = ()

    @property
    def uri(self) -> str:
        """Path or URI of the image."""
        return self.image.uri


@dataclass(frozen=True)
class Failure:
    """An image that could not be labelled, and the reason in one sentence."""

    image: ListedImage
    reason: str

    @property
    def uri(self) -> str:
        """Path or URI of the image."""
        return self.image.uri


def file_row(image: ListedImage) -> dict[str, Any]:
    """Return the columns that say which image it is."""
    return {
        "image": image.name,
        "uri": image.uri,
        "num_bytes": image.num_bytes,
        "modified": image.modified_ns,
    }


def image_row(prelabel: Prelabel) -> dict[str, Any]:
    """Return the row of a labelled image."""
    width, height = prelabel.size_wh
    return file_row(prelabel.image) | {
        "width": width,
        "height": height,
        "num_persons": len(prelabel.poses),
        "expected_clicks": prelabel.expected_clicks,
        "movement": prelabel.movement,
        "mirror_difference": prelabel.mirror_difference,
        "appearance": prelabel.appearance or None,
    }


def person_row(image: ListedImage, number: int, pose: Pose) -> dict[str, Any]:
    """Return the row of a person."""
    keypoints = np.concatenate((pose.keypoints_px, pose.scores[:, None]), 1)
    return {
        "image": image.name,
        "person": number,
        "box": pose.box_px.tolist(),
        "score": float(pose.score),
        "keypoints": keypoints.tolist(),
        "visibility": pose.visibility.tolist(),
    }


def read_file_rows(table: pa.Table) -> list[ListedImage]:
    """Read the images of a table back."""
    modified = table["modified"].cast(pa.int64())
    columns = (table["uri"], table["num_bytes"], modified, table["image"])
    return [ListedImage(*row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]


def read_person_row(row: dict[str, Any]) -> Pose:
    """Read a person back; nothing of a pre-label was placed by hand."""
    keypoints = np.asarray(row["keypoints"], np.float32).reshape(-1, 3)
    return Pose(
        keypoints_px=keypoints[:, :2],
        visibility=np.asarray(row["visibility"], np.int64),
        scores=keypoints[:, 2],
        box_px=np.asarray(row["box"], np.float32),
        score=float(row["score"]),
        held=np.zeros(len(keypoints), bool),
    )
