"""Single Label Studio regions: malformed ones are flagged, and each point tells what a human did to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from clickpose.annotations import Floats
from clickpose.skeleton import Skeleton
from integrations.label_studio.interface import VISIBILITY_CHOICES
from integrations.label_studio.regions import parse_id, percent_to_px
from integrations.label_studio.schemas import RawRegion, Region

MOVED_PCT = 0.01  # a tenth of a pixel on a large screen: beyond rounding, below any drag


class Point(NamedTuple):
    """A keypoint on the screen.

    ``moved``: dragged by hand since the model answered. ``judged``: its visibility was changed since. ``placed``: set
    by a click, or drawn. Any of the three makes it held.
    """

    id: str
    keypoint: int
    xy_px: tuple[float, float]
    visibility: int
    score: float
    placed: bool
    moved: bool
    judged: bool

    @property
    def held(self) -> bool:
        """Whether a human placed, moved or judged it."""
        return self.placed or self.moved or self.judged


@dataclass(frozen=True)
class Regions:
    """What a result contains.

    Attributes:
        drawn: its points and boxes.
        visibility: chosen for points, by id; points without a choice are visible.
        flagged: a sentence for each malformed region.
        ids: of all its records.
    """

    drawn: tuple[Region, ...]
    visibility: Mapping[str, int]
    flagged: tuple[str, ...]
    ids: frozenset[str]

    def overlaid(self, newer: Regions) -> Regions:
        """Return these regions with those of a newer result in place of the ones that have the same id."""
        kept = tuple(region for region in self.drawn if region.id not in newer.ids)
        visibility = {name: one for name, one in self.visibility.items() if name not in newer.ids}
        visibility.update(newer.visibility)
        return Regions(kept + newer.drawn, visibility, self.flagged + newer.flagged, self.ids | newer.ids)


def read_regions(result: Sequence[RawRegion]) -> Regions:
    """Return the points and boxes of a result, and their visibility; flag the malformed ones.

    A region with one of our ids is only what its id says: while a label is selected, Label Studio puts it on every
    region of an answer, and then also writes a box as a point, or a point as a box.
    """
    drawn: list[Region] = []
    flagged: list[str] = []
    for item in result:
        if item.get("type") in ("keypointlabels", "rectanglelabels") and not _contradicts_id(item):
            try:
                drawn.append(Region.model_validate(item))
            except ValidationError as error:
                where = ".".join(str(part) for part in error.errors()[0]["loc"])
                flagged.append(f"region {item.get('id')} is malformed: {where}: {error.errors()[0]['msg']}")
    ids = frozenset(str(item.get("id")) for item in result)
    return Regions(tuple(drawn), _read_choices(result), tuple(flagged), ids)


def _read_choices(result: Sequence[RawRegion]) -> dict[str, int]:
    """Return the visibility chosen for each point's id."""
    chosen = {str(item.get("id")): choice for item in result if (choice := choice_of(item))}
    return {point: VISIBILITY_CHOICES.index(one) for point, one in chosen.items() if one in VISIBILITY_CHOICES}


def choice_of(item: RawRegion) -> str:
    """Return the choice of a record, in lower case; empty without one."""
    value = item.get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    return str(choices[0]).casefold() if isinstance(choices, list) and choices else ""


def name_points(regions: Sequence[Region]) -> dict[str, str]:
    """Return the name of each point's keypoint by id: its label, or its id's if several points have that label.

    So left and right are swapped only if both points were relabelled, and a label that Label Studio put on all points
    is ignored.
    """
    labels = {region.id: region.value.keypointlabels[0] if region.value.keypointlabels else "" for region in regions}
    ours = {region.id: parsed for region in regions if (parsed := parse_id(region.id))}
    wearers = Counter((person, labels[region_id]) for region_id, (person, _) in ours.items())
    by_id = {i: name for i, (person, name) in ours.items() if name and wearers[person, labels[i]] > 1}
    return labels | by_id


def read_point(region: Region, label: str, visibility: int, skeleton: Skeleton, flagged: list[str]) -> Point | None:
    """Return a region as the keypoint of that name; None, and a flag, when the skeleton has no such keypoint."""
    if label not in skeleton.keypoints:
        flagged.append(
            f"point {region.id} is labelled {label or 'nothing'}, which skeleton {skeleton.name} does not have:"
            " give it a label of the project's interface"
        )
        return None
    at, here = region.meta.at, (region.value.x, region.value.y)
    moved = max(abs(here[0] - at[0]), abs(here[1] - at[1])) > MOVED_PCT if at else _dragged(region)
    return Point(
        id=region.id,
        keypoint=skeleton.index(label),
        xy_px=place_of(region),
        visibility=visibility,
        score=1.0 if region.score is None else region.score,
        placed=region.meta.held or (at is None and parse_id(region.id) is None),
        moved=moved,
        judged=at is not None and at[2] != visibility,
    )


def place_of(region: Region) -> tuple[float, float]:
    """Return a point's place, or a box's first corner, in pixels."""
    return percent_to_px((region.value.x, region.value.y), (region.original_width, region.original_height))


def box_of(region: Region) -> Floats:
    """Return a box region as ``(4,)`` x0, y0, x1, y1 in pixels; of a turned one, the box around it."""
    value, size_wh = region.value, (region.original_width, region.original_height)
    corner = np.array(percent_to_px((value.x, value.y), size_wh))
    width, height = percent_to_px((value.width, value.height), size_wh)
    angle = math.radians(value.rotation or 0.0)
    sides = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))]) * ((width,), (height,))
    corners = corner + np.array([(0, 0), sides[0], sides[1], sides[0] + sides[1]])
    return np.array([*corners.min(0), *corners.max(0)], np.float32)


def _contradicts_id(item: RawRegion) -> bool:
    parsed = parse_id(str(item.get("id")))
    return parsed is not None and (parsed[1] is None) != (item["type"] == "rectanglelabels")


def _dragged(region: Region) -> bool:
    return region.origin == "prediction-changed"  # a prediction that is not ours says no more


def off_centre(box_px: Floats, xy_px: tuple[float, float]) -> float:
    """Return the distance of a place from a box's centre: 0 there, 1 on the edge, more outside."""
    half_wh = np.maximum((box_px[2:] - box_px[:2]) / 2, 1e-6)
    centre = (box_px[2:] + box_px[:2]) / 2
    return float((np.abs(np.asarray(xy_px) - centre) / half_wh).max())
