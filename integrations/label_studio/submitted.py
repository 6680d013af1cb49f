"""A submitted annotation, read as people; nothing that was drawn is dropped without a message.

A submitted annotation is complete, while a click sends the regions of one label only. So here a person without a box
was deleted, with all points. Points that never had a box are a person of their own, unless the task had a prediction:
then they are left over from clicks without an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clickpose.skeleton import Skeleton
from integrations.label_studio.foreign import flag_unknown_choices, on_one_image, without_other_boxes
from integrations.label_studio.people import People, Person, read_people
from integrations.label_studio.points import Point
from integrations.label_studio.regions import parse_id
from integrations.label_studio.schemas import RawRegion

READ = ("keypointlabels", "rectanglelabels", "choices")
NOT_DRAWN = ("relation", "textarea", "number", "rating", "taxonomy", "datetime", "pairwise")
NAMES_SHOWN = 5


def read_submitted(result: Any, skeleton: Skeleton, size_wh: tuple[int, int]) -> People:
    """Group the ``result`` list of a submitted annotation into people; what is left out is flagged.

    Args:
        result: as Label Studio or an import has it; regions may lack ids and sizes.
        skeleton: names the keypoints.
        size_wh: of the upright image in pixels; regions are in percent of it.
    """
    flagged: list[str] = []
    regions = on_one_image(_complete(result, size_wh, flagged), flagged)
    regions = without_other_boxes(regions, flagged)
    flag_unknown_choices(regions, flagged)
    people = read_people(_without_deleted(regions, flagged), skeleton)
    predicted_on = any(parse_id(region["id"]) for region in regions)
    if people.loose and not predicted_on and _is_one_person(people.loose):
        people = _with_person(people, people.loose)
    elif people.loose:
        flagged.append(_about_loose(people.loose, skeleton))
    return replace(people, flagged=(*people.flagged, *flagged))


def _complete(result: Any, size_wh: tuple[int, int], flagged: list[str]) -> list[RawRegion]:
    """Return the regions, each with an id and the image's size; flag those that are not a box, point or choice."""
    regions, taken = [], set[tuple[str, str]]()
    for index, item in enumerate(result if isinstance(result, list) else []):
        if not isinstance(item, dict):
            flagged.append(f"region {index} is {str(item)[:50]!r}, not an object")
        elif item.get("type") in READ:
            names = {name: str(item[name]) for name in ("id", "parentID") if item.get(name) is not None}
            if (key := (item["type"], names.get("id", ""))) in taken:  # a second region of that id
                names.pop("id")
            taken |= {key} if key[1] else set()
            size = {"original_width": size_wh[0], "original_height": size_wh[1]}
            regions.append({**item, "id": f"unnamed-{index}", **names, **size})
        elif item.get("type") not in NOT_DRAWN:
            flagged.append(f"region {item.get('id', index)} is of type {item.get('type')!r}, not a box or a point")
    return regions


def _without_deleted(regions: Sequence[RawRegion], flagged: list[str]) -> list[RawRegion]:
    """Leave out the points of persons whose box was deleted."""
    ids = {region["id"] for region in regions}
    boxes = {region["id"] for region in regions if region["type"] == "rectanglelabels"}
    deleted: Counter[str] = Counter()
    kept = []
    for region in regions:
        owner = _owner(region)
        if owner is None or owner in (boxes if parse_id(owner) else ids):
            kept.append(region)
        elif region["type"] == "keypointlabels":
            deleted[owner] += 1
    flagged += [f"the box {owner} was deleted, and its {count} points with it" for owner, count in deleted.items()]
    return kept


def _owner(region: RawRegion) -> str | None:
    """Return the id of the box that a point belongs to, by its parent or its own id; None for anything else."""
    ours = parse_id(region["id"])
    if region["type"] == "rectanglelabels" or (ours and ours[1] is None):
        return None
    return region.get("parentID") or (f"p{ours[0]}" if ours else None)


def _is_one_person(points: Sequence[Point]) -> bool:
    """Tell whether points without a box are those of one person: several, and no keypoint twice."""
    return 1 < len(points) == len({point.keypoint for point in points})


def _with_person(people: People, points: Sequence[Point]) -> People:
    number = max(people.persons, default=-1) + 1
    person = Person({point.keypoint: point for point in points}, None, f"p{number}")
    return replace(people, persons={**people.persons, number: person}, loose=())


def _about_loose(points: Sequence[Point], skeleton: Skeleton) -> str:
    names = [skeleton.keypoints[point.keypoint] for point in points]
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{len(points)} points belong to no person ({shown}): draw a box around their person, or delete them"
