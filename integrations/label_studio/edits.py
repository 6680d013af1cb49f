"""A drawn or moved region read as an edit: which keypoint of whom goes where, or around whom goes a new box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from clickpose.annotations import ABSENT, OCCLUDED, VISIBLE
from clickpose.errors import InvalidClick
from clickpose.skeleton import Skeleton
from integrations.label_studio.people import People, Person
from integrations.label_studio.points import box_of, off_centre, place_of
from integrations.label_studio.schemas import Region
from integrations.label_studio.service import KeypointEdit, PersonEdit

Edit: TypeAlias = KeypointEdit | PersonEdit

SAME_PLACE = 0.05  # of a person's size: a click so near to a placed keypoint corrects it once more


def read_edit(region: Region, people: People, present: frozenset[int], skeleton: Skeleton) -> Edit:
    """Return the edit that a region means.

    Args:
        region: a new or moved point, or a new box.
        people: everybody known to be, or to have been, on the screen.
        present: numbers of those who certainly are.
        skeleton: the keypoints there are.

    Raises:
        InvalidClick: the label is no keypoint of the skeleton, or the place lies outside the picture.
    """
    if region.type == "rectanglelabels":
        return _read_box(region)
    label = region.value.keypointlabels[0] if region.value.keypointlabels else "nothing"
    if label not in skeleton.keypoints:
        raise InvalidClick(f"label {label} is no keypoint of skeleton {skeleton.name}")
    if not (0 <= region.value.x <= 100 and 0 <= region.value.y <= 100):
        raise InvalidClick(f"({region.value.x:.1f} %, {region.value.y:.1f} %) lies outside the picture")
    keypoint, xy_px = skeleton.index(label), place_of(region)
    person, is_absent = _owner(people, region.id), region.is_positive is False
    if person is None:
        person = choose_person(people, present, keypoint, xy_px, skeleton, is_absent=is_absent)
    visibility = ABSENT if is_absent else _kept_visibility(people, person, keypoint)
    return KeypointEdit(keypoint, xy_px, visibility, person)


def choose_person(
    people: People,
    present: frozenset[int],
    keypoint: int,
    xy_px: tuple[float, float],
    skeleton: Skeleton,
    *,
    is_absent: bool = False,
) -> int | None:
    """Return whom a click means, or None if there is nobody.

    Those whose box holds the click come first, or may hold it: the box of a person just added is not told yet. Then
    come those who are certainly on the screen, those whose same keypoint no human has settled elsewhere, and those
    who show it right beside the click. Among equals it is the one whose limbs end nearest: the clicked keypoint
    itself is where it should not be, the other ends of its limbs tell better whose it is. To say that a keypoint is
    absent she clicks on the very one.
    """
    linked = skeleton.linked(keypoint)

    def rank(number: int) -> tuple[float, bool, bool, bool, bool, float]:
        person = people.persons[number]
        outside = person.box is not None and off_centre(box_of(person.box), xy_px) > 1
        distance = _mean_distance(person, [keypoint], xy_px)
        elsewhere = distance > SAME_PLACE * _size_px(person)
        settled = elsewhere and keypoint in person.points and person.points[keypoint].held
        limbs = _mean_distance(person, linked, xy_px)
        remoteness = distance if limbs == math.inf else limbs  # of a person just added, limbs are not told yet
        return distance if is_absent else 0.0, outside, number not in present, settled, elsewhere, remoteness

    return min(people.persons, key=rank, default=None)


def _mean_distance(person: Person, keypoints: Sequence[int], xy_px: tuple[float, float]) -> float:
    """Mean distance in pixels to those of the keypoints that are shown; infinite if none is."""
    distances = [math.dist(person.points[k].xy_px, xy_px) for k in keypoints if k in person.points]
    return sum(distances) / len(distances) if distances else math.inf


def _size_px(person: Person) -> float:
    if person.box is None:
        return 0.0
    x0, y0, x1, y1 = box_of(person.box)
    return math.hypot(x1 - x0, y1 - y0)


def _read_box(region: Region) -> PersonEdit:
    size_wh = np.array([region.original_width, region.original_height], np.float32)
    corners = np.sort(box_of(region).reshape(2, 2), axis=0)  # it may have been drawn from any corner
    corners = np.clip(corners, 0, size_wh)
    if not (corners[1] - corners[0] >= 1).all():
        raise InvalidClick("the box is smaller than a pixel, or lies outside the picture")
    return PersonEdit(corners.reshape(4))


def _owner(people: People, region_id: str) -> int | None:
    for number, person in people.persons.items():
        if any(point.id == region_id for point in person.points.values()):
            return number
    return None


def _kept_visibility(people: People, person: int | None, keypoint: int) -> int:
    """A keypoint that is occluded stays so when it is corrected; any other becomes visible."""
    point = people.persons[person].points.get(keypoint) if person is not None else None
    return OCCLUDED if point is not None and point.visibility == OCCLUDED else VISIBLE
