"""Label Studio's editor as a backend sees it: regions on the screen, requests after a click, and their answers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clickpose.annotations import PersonAnnotation, Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.interface import PERSON_LABEL
from integrations.label_studio.people import read_people
from integrations.label_studio.regions import DOT_WIDTH_PCT, RegionIds, px_to_percent
from integrations.label_studio.schemas import clean_regions

Region = dict[str, Any]


class SimulatedEditor:
    """The regions an annotator sees, as Label Studio keeps them.

    Args:
        result: the regions of the prediction that she starts from.
        size_wh: size of the image in pixels.
        skeleton: of the labelling interface.
    """

    def __init__(self, result: Sequence[Region], size_wh: tuple[int, int], skeleton: Skeleton) -> None:
        self.regions, self.size_wh, self.skeleton = list(result), size_wh, skeleton

    def poses(self) -> list[Pose]:
        """Read all persons on the screen."""
        return read_people(clean_regions(self.regions), self.skeleton).poses(self.skeleton)

    def like(self, drawn: Region) -> list[Region]:
        """Return the regions of the same type and label, with their visibility."""
        kind = drawn["type"]
        ids = {r["id"] for r in self.regions if r["type"] == kind and r["value"].get(kind) == drawn["value"][kind]}
        return [region for region in self.regions if region["id"] in ids]

    def accept(self, answer: Sequence[Region]) -> None:
        """Replace regions by those of an answer with the same id."""
        ids = {region["id"] for region in answer}
        self.regions = [region for region in self.regions if region["id"] not in ids] + list(answer)

    def dragged(self, person: int, keypoint: int, xy_px: tuple[float, float]) -> dict[str, Any]:
        """Move a person's point; return what the page script sends after such a drag: the whole screen."""
        point = self.drawn_point(keypoint, xy_px) | {
            "id": RegionIds().of(person, self.skeleton.keypoints[keypoint]),
            "parentID": RegionIds().of(person),
            "meta": {"person": person, "held": True},
        }
        del point["is_positive"]
        self.accept([point])
        held = [region["id"] for region in self.regions if region.get("meta", {}).get("held")]
        return {"result": self.regions, "moved": point["id"], "person": person, "held": held}

    def drawn_point(self, keypoint: int, xy_px: tuple[float, float]) -> Region:
        """Return the region that a smart click draws."""
        x, y = px_to_percent(np.asarray(xy_px, np.float32), self.size_wh)
        label = [self.skeleton.keypoints[keypoint]]
        value = {"x": x, "y": y, "width": DOT_WIDTH_PCT, "labels": label, "keypointlabels": label}
        return {**self._drawn("keypointlabels", "kp"), "is_positive": True, "value": value}

    def drawn_box(self, box_px: Sequence[float]) -> Region:
        """Return the region that a smart rectangle draws."""
        x, y = px_to_percent(np.asarray(box_px[:2], np.float32), self.size_wh)
        right, bottom = px_to_percent(np.asarray(box_px[2:], np.float32), self.size_wh)
        size = {"width": right - x, "height": bottom - y, "rotation": 0}
        return {
            **self._drawn("rectanglelabels", "box"),
            "value": {"x": x, "y": y, **size, "rectanglelabels": [PERSON_LABEL]},
        }

    def submitted(self, persons: Mapping[int, PersonAnnotation]) -> list[Region]:
        """Return what is submitted: these persons, by their number on the screen, and their labelled keypoints."""
        wanted: set[str] = set()
        for index, person in persons.items():
            labelled = np.flatnonzero(person.visibility)
            names = [self.skeleton.keypoints[k] for k in labelled]
            wanted |= {RegionIds().of(index), *(RegionIds().of(index, name) for name in names)}
        return [region for region in self.regions if region["id"] in wanted]

    def _drawn(self, kind: str, tag: str) -> Region:
        width, height = self.size_wh
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        identity = {"id": secrets.token_hex(5), "type": kind, "from_name": tag, "to_name": "image"}
        return {**identity, **size, "origin": "manual"}
