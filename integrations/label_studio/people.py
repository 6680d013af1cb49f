"""Label Studio regions read as people: to whom each point belongs, where it is, and whether a human placed it.

A point belongs to the person that its ``parentID`` names, else the one that its own id names, else the one in or near
whose box it lies and who lacks this keypoint. ``submitted`` decides about points that belong to no person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from clickpose.annotations import ABSENT, VISIBLE, Floats, Ints, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.points import (
    Point,
    Regions,
    box_of,
    name_points,
    off_centre,
    read_point,
    read_regions,
)
from integrations.label_studio.regions import RegionIds, parse_id
from integrations.label_studio.schemas import RawRegion, Region
from integrations.label_studio.service import SeenKeypoint, gap

REACH = 1.5  # a point outside a box belongs to the person up to a quarter of the box away


@dataclass(frozen=True)
class Person:
    """A person on the screen: the box region, if it still exists, and the points by keypoint."""

    points: Mapping[int, Point]
    box: Region | None
    box_id: str

    def ids(self) -> set[str]:
        """Return the ids of this person's regions."""
        return {self.box_id, *(point.id for point in self.points.values())}

    @property
    def model_version(self) -> str:
        """The model version that answered last, empty if none did."""
        return self.box.meta.model if self.box else ""

    def deleted(self, skeleton: Skeleton) -> list[int]:
        """Return the keypoints that were shown once and have been deleted since."""
        shown_all = self.box is not None and self.box.meta.skeleton == skeleton.name
        return [k for k in range(len(skeleton)) if shown_all and k not in self.points]

    def pose(self, skeleton: Skeleton) -> Pose:
        """Return the pose on the screen; deleted keypoints are absent and held."""
        keypoints_px = np.zeros((len(skeleton), 2), np.float32)
        visibility = np.full(len(skeleton), ABSENT, np.int64)
        scores, held = np.zeros(len(skeleton), np.float32), np.zeros(len(skeleton), np.bool_)
        for k, point in self.points.items():
            keypoints_px[k], visibility[k] = point.xy_px, point.visibility
            scores[k], held[k] = point.score, point.held
        held[self.deleted(skeleton)] = True
        scores[held] = 1.0
        score = 1.0 if self.box is None or self.box.score is None else self.box.score
        return Pose(keypoints_px, visibility, scores, self._box_px(keypoints_px, visibility), score, held)

    def _box_px(self, keypoints_px: Floats, visibility: Ints) -> Floats:
        if self.box is not None:
            return box_of(self.box)
        places = keypoints_px[visibility > ABSENT] if (visibility > ABSENT).any() else keypoints_px
        low, high = places.min(0), places.max(0)
        return np.array([*low, *np.maximum(high, low + 1)], np.float32)


@dataclass(frozen=True)
class People:
    """All persons on the screen by number, and a sentence for each region that could not be read.

    ``loose`` are the points that belong to no person.
    """

    persons: Mapping[int, Person]
    flagged: tuple[str, ...] = ()
    loose: tuple[Point, ...] = ()

    def poses(self, skeleton: Skeleton) -> list[Pose]:
        """Return the poses; a person's number is the index, and numbers without a person are gaps."""
        return [
            self.persons[number].pose(skeleton) if number in self.persons else gap(len(skeleton))
            for number in range(max(self.persons, default=-1) + 1)
        ]

    def seen(self, ids: Set[str]) -> list[SeenKeypoint]:
        """Return the keypoints that the regions with these ids show."""
        return [
            SeenKeypoint(number, point.keypoint, point.xy_px, point.visibility, point.held)
            for number, person in self.persons.items()
            for point in person.points.values()
            if point.id in ids
        ]

    def ids(self, skeleton: Skeleton) -> RegionIds:
        """Return the ids of the regions on the screen."""
        drawn: dict[tuple[int, str | None], str] = {}
        for number, person in self.persons.items():
            drawn[number, None] = person.box_id
            for point in person.points.values():
                drawn[number, skeleton.keypoints[point.keypoint]] = point.id
        return RegionIds(drawn)


def read_people(result: Sequence[RawRegion], skeleton: Skeleton) -> People:
    """Read the ``result`` list of a draft, annotation, prediction or context as people."""
    return group_regions(read_regions(result), skeleton)


def group_regions(regions: Regions, skeleton: Skeleton) -> People:
    """Group points and boxes into people."""
    flagged = list(regions.flagged)
    boxes = [region for region in regions.drawn if region.type == "rectanglelabels"]
    numbers = _number_boxes(boxes, regions.drawn)
    people = _People({numbers[box.id]: box for box in boxes}, numbers)
    points = [region for region in regions.drawn if region.type == "keypointlabels"]
    names = name_points(points)
    loose: list[Point] = []
    for region in sorted(points, key=lambda point: parse_id(point.id) is None):  # ours first
        point = read_point(region, names[region.id], regions.visibility.get(region.id, VISIBLE), skeleton, flagged)
        if point is None:
            continue
        number = people.owner(point, region)
        if number is None:
            loose.append(point)
        elif not people.take(point, number):
            flagged.append(f"point {region.id} is a second {skeleton.keypoints[point.keypoint]} of p{number}")
    return People(people.persons(), tuple(flagged), tuple(loose))


def _number_boxes(boxes: Sequence[Region], regions: Iterable[Region]) -> dict[str, int]:
    """Number the boxes by id: our ids contain the number, others have it in ``meta`` after our first answer."""
    ids = [name for region in regions for name in (region.id, region.parent_id) if name]
    used = {parsed[0] for parsed in map(parse_id, ids) if parsed}
    numbers = {box.id: parsed[0] for box in boxes if (parsed := parse_id(box.id))}
    for box in boxes:
        if box.id not in numbers:
            told = box.meta.person
            numbers[box.id] = max(used, default=-1) + 1 if told is None or told in used else told
            used.add(numbers[box.id])
    return numbers


class _People:
    """People while they are read: boxes by number, and the points assigned so far."""

    def __init__(self, boxes: Mapping[int, Region], numbers: Mapping[str, int]) -> None:
        self.boxes = boxes
        self.numbers = numbers
        self.points: dict[int, dict[int, Point]] = {number: {} for number in boxes}

    def take(self, point: Point, number: int) -> bool:
        """Assign a point to a person; False if that person already has this keypoint."""
        if point.keypoint in self.points.get(number, {}):
            return False
        self.points.setdefault(number, {})[point.keypoint] = point
        return True

    def persons(self) -> dict[int, Person]:
        """Return all persons by number."""
        box_ids = {number: region_id for region_id, number in self.numbers.items()}
        return {
            number: Person(points, self.boxes.get(number), box_ids.get(number, f"p{number}"))
            for number, points in sorted(self.points.items())
        }

    def owner(self, point: Point, region: Region) -> int | None:
        """Return the number of the person that a point belongs to, or None."""
        if region.parent_id is not None and region.parent_id in self.numbers:
            return self.numbers[region.parent_id]
        for name in (region.parent_id, region.id):
            parsed = parse_id(name) if name else None
            if parsed is not None:
                return parsed[0]
        return self._nearest(point)

    def _nearest(self, point: Point) -> int | None:
        """Return the person who lacks this keypoint and whose box has it nearest to its centre; None without one."""
        distances = {
            number: off_centre(box_of(box), point.xy_px)
            for number, box in self.boxes.items()
            if point.keypoint not in self.points[number]
        }
        near = {number: distance for number, distance in distances.items() if distance <= REACH}
        return min(near, key=near.__getitem__) if near else None
