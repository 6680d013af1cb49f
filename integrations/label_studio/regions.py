"""Poses written as Label Studio regions.

    region    what one id names on the screen: a box, or a point together with its visibility
    item      one record of a ``result`` list; a point that is not fully visible takes two items with the same id
    percent   Label Studio's unit: 0..100 of the image's width and height

A person's number is its index in the list of poses. Person 3 has the box ``p3`` and the points ``p3_left_wrist``, ...,
so that an answer updates what is on the screen instead of adding to it. Boxes come last: what comes first is drawn on
top, and a box on top would catch the mouse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from clickpose.annotations import ABSENT, VISIBLE, Floats, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.interface import (
    BOX_TAG,
    IMAGE_TAG,
    PERSON_LABEL,
    POINT_TAG,
    VISIBILITY_CHOICES,
    VISIBILITY_TAG,
)
from integrations.label_studio.schemas import RawRegion
from integrations.label_studio.service import is_gap

DOT_WIDTH_PCT = 0.6
OUR_ID = re.compile(r"p(0|[1-9]\d{0,3})(?:_(.+))?")  # below MAX_PERSONS


@dataclass(frozen=True)
class RegionIds:
    """The id of the region of a person's box (keypoint None) or keypoint: ours, unless the annotator drew it."""

    drawn: Mapping[tuple[int, str | None], str] = field(default_factory=dict)

    def of(self, person: int, keypoint: str | None = None) -> str:
        """Return the id of a person's box, or of a keypoint."""
        ours = f"p{person}" if keypoint is None else f"p{person}_{keypoint}"
        return self.drawn.get((person, keypoint), ours)


@lru_cache(4096)  # a request names every region several times
def parse_id(region_id: str) -> tuple[int, str | None] | None:
    """Return the person and, for a point, the keypoint of one of our ids; None for any other id."""
    match = OUR_ID.fullmatch(region_id)
    return (int(match[1]), match[2]) if match else None


def percent_to_px(xy_pct: tuple[float, float], size_wh: tuple[int, int]) -> tuple[float, float]:
    """Convert a place from percent to pixels."""
    return xy_pct[0] / 100 * size_wh[0], xy_pct[1] / 100 * size_wh[1]


def px_to_percent(xy_px: Floats, size_wh: tuple[int, int]) -> tuple[float, float]:
    """Convert a place from pixels to percent."""
    return 100 * float(xy_px[0]) / size_wh[0], 100 * float(xy_px[1]) / size_wh[1]


def poses_to_result(
    poses: Sequence[Pose],
    skeleton: Skeleton,
    size_wh: tuple[int, int],
    *,
    model_version: str = "",
    ids: RegionIds | None = None,
) -> list[RawRegion]:
    """Write poses as the ``result`` list of a prediction or answer.

    Args:
        poses: a pose's index is its person's number; gaps are left out.
        skeleton: names the K keypoints of every pose.
        size_wh: size in pixels of the upright image.
        model_version: stored with every box, for provenance.
        ids: the regions on the screen, where the annotator drew some of them herself.
    """
    canvas = _Canvas(skeleton, size_wh, model_version, ids or RegionIds())
    people = [(person, pose) for person, pose in enumerate(poses) if not is_gap(pose)]
    points = [item for person, pose in people for item in canvas.points(person, pose)]
    return points + [canvas.box(person, pose) for person, pose in people]


@dataclass(frozen=True)
class _Canvas:
    """What all regions of one answer share."""

    skeleton: Skeleton
    size_wh: tuple[int, int]
    model_version: str
    ids: RegionIds

    def points(self, person: int, pose: Pose) -> list[RawRegion]:
        """Write a person's keypoints, except those deleted by hand, which have no place."""
        return [
            item
            for index in range(len(self.skeleton))
            if pose.visibility[index] != ABSENT or pose.keypoints_px[index].any()
            for item in self._point(person, pose, index)
        ]

    def box(self, person: int, pose: Pose) -> RawRegion:
        """Write a person's box."""
        x, y = px_to_percent(pose.box_px[:2], self.size_wh)
        width, height = px_to_percent(pose.box_px[2:] - pose.box_px[:2], self.size_wh)
        place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        return self._item("rectanglelabels", BOX_TAG, self.ids.of(person)) | {
            "score": float(pose.score),
            "meta": {"person": person, "skeleton": self.skeleton.name, "model": self.model_version},
            "value": place | {"rectanglelabels": [PERSON_LABEL]},
        }

    def _point(self, person: int, pose: Pose, index: int) -> list[RawRegion]:
        keypoint, visibility = self.skeleton.keypoints[index], int(pose.visibility[index])
        region_id = self.ids.of(person, keypoint)
        x, y = px_to_percent(pose.keypoints_px[index], self.size_wh)
        place = {"x": x, "y": y, "width": DOT_WIDTH_PCT}
        point = self._item("keypointlabels", POINT_TAG, region_id) | {
            "parentID": self.ids.of(person),
            "score": float(pose.scores[index]),
            "meta": {"person": person, "held": bool(pose.held[index]), "at": [x, y, visibility]},
            "value": place | {"keypointlabels": [keypoint]},
        }
        if visibility == VISIBLE:
            return [point]
        choice = {"value": place | {"choices": [VISIBILITY_CHOICES[visibility]]}}
        return [point, self._item("choices", VISIBILITY_TAG, region_id) | choice]

    def _item(self, kind: str, tag: str, region_id: str) -> dict[str, Any]:
        return {
            "id": region_id,
            "type": kind,
            "from_name": tag,
            "to_name": IMAGE_TAG,
            "original_width": self.size_wh[0],
            "original_height": self.size_wh[1],
            "image_rotation": 0,
        }
