"""Annotations of projects with an interface of their own: several images in a task, other boxes, other choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from integrations.label_studio.interface import IMAGE_TAG, PERSON_LABEL, VISIBILITY_CHOICES
from integrations.label_studio.points import choice_of
from integrations.label_studio.schemas import RawRegion

POINT, BOX = "keypointlabels", "rectanglelabels"
OUR_CANVAS = (IMAGE_TAG, 0)


def on_one_image(regions: Sequence[RawRegion], flagged: list[str]) -> list[RawRegion]:
    """Leave out, and flag, what was drawn on other images of the same task, or on other pages of it."""
    counts = Counter(_canvas(region) for region in regions if region.get("type") in (POINT, BOX))
    ours = OUR_CANVAS if OUR_CANVAS in counts else next(iter(counts), OUR_CANVAS)
    for (tag, page), count in counts.items():
        if (tag, page) != ours:
            flagged.append(f"{count} regions are on another image of the task, {tag!r} {page}: give it its own task")
    return [region for region in regions if _canvas(region) == ours or region.get("type") not in (POINT, BOX)]


def without_other_boxes(regions: Sequence[RawRegion], flagged: list[str]) -> list[RawRegion]:
    """Leave out, and flag, boxes around other things than persons, with their points, if some box says person."""
    labels = {region["id"]: _label(region).casefold() for region in regions if region["type"] == BOX}
    others = {box: label for box, label in labels.items() if label and PERSON_LABEL not in label}
    if not any(PERSON_LABEL in label for label in labels.values()):
        return list(regions)
    for label, count in Counter(others.values()).items():
        flagged.append(f"{count} boxes labelled {label!r}, and the points in them, are no {PERSON_LABEL}: left out")
    return [region for region in regions if region["id"] not in others and region.get("parentID") not in others]


def flag_unknown_choices(regions: Sequence[RawRegion], flagged: list[str]) -> None:
    """Flag the choices of points that do not say how visible they are."""
    points = {region["id"] for region in regions if region["type"] == POINT}
    choices = [choice_of(region) for region in regions if region["type"] == "choices" and region["id"] in points]
    for choice, count in Counter(choices).items():
        if choice and choice not in VISIBILITY_CHOICES:
            known = ", ".join(VISIBILITY_CHOICES)
            flagged.append(f"{count} points have the choice {choice!r}, none of {known}: they count as visible")


def _canvas(region: RawRegion) -> tuple[str, int]:
    """Return the tag that shows a region's image, and the image's number in the tag's list."""
    page = region.get("item_index")
    return str(region.get("to_name") or IMAGE_TAG), page if isinstance(page, int) else 0


def _label(box: RawRegion) -> str:
    value = box.get("value")
    labels = value.get(BOX) if isinstance(value, dict) else None
    return str(labels[0]) if isinstance(labels, list) and labels else ""
