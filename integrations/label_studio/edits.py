"""A drawn or moved region read as an edit: a keypoint that is placed, or a box around a new person."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from clickpose.annotations import ABSENT
from clickpose.errors import InvalidClick
from clickpose.skeleton import Skeleton
from integrations.label_studio.people import People
from integrations.label_studio.points import box_of, place_of
from integrations.label_studio.schemas import Region
from integrations.label_studio.service import KeypointEdit, PersonEdit

Edit: TypeAlias = KeypointEdit | PersonEdit


def read_edit(region: Region, people: People, skeleton: Skeleton, focus: int | None = None) -> Edit:
    """Return the edit that a region stands for; an existing region, or the focus, tells whose keypoint it is.

    Args:
        region: a new or moved point, or a new box.
        people: all persons known to be, or to have been, on the screen.
        skeleton: of all persons.
        focus: number of the person in focus on the annotator's screen, if the page says so. A keypoint that is drawn
            belongs to this person, even if it lies nearer to another.

    Raises:
        InvalidClick: the label is not a keypoint of the skeleton, or the place lies outside the image.
    """
    if region.type == "rectanglelabels":
        return _read_box(region)
    label = region.value.keypointlabels[0] if region.value.keypointlabels else "nothing"
    if label not in skeleton.keypoints:
        raise InvalidClick(f"label {label} is not a keypoint of skeleton {skeleton.name}")
    if not (0 <= region.value.x <= 100 and 0 <= region.value.y <= 100):
        raise InvalidClick(f"({region.value.x:.1f} %, {region.value.y:.1f} %) lies outside the image")
    visibility = ABSENT if region.is_positive is False else None
    owner = _owner(people, region.id)
    if owner is None and focus in people.persons:
        owner = focus
    return KeypointEdit(skeleton.index(label), place_of(region), visibility, owner)


def _read_box(region: Region) -> PersonEdit:
    size_wh = np.array([region.original_width, region.original_height], np.float32)
    corners = np.sort(box_of(region).reshape(2, 2), axis=0)  # it may have been drawn from any corner
    corners = np.clip(corners, 0, size_wh)
    if not (corners[1] - corners[0] >= 1).all():
        raise InvalidClick("the box is smaller than a pixel, or lies outside the image")
    return PersonEdit(corners.reshape(4))


def _owner(people: People, region_id: str) -> int | None:
    for number, person in people.persons.items():
        if any(point.id == region_id for point in person.points.values()):
            return number
    return None
