"""OCHuman's own file, ``ochuman.json``; the files in COCO's form that come with it are read as such.

    keypoint_names     19: COCO's 17, head and neck
    keypoint_visible   what the third number of a keypoint means
    images             each with its ``annotations``: ``bbox`` as x0, y0, x1, y1, and ``keypoints``, null for
                       bystanders, who have only a box

Images and persons are numbered from 1 in the order of the file, which has no ids for them. Visibility and area follow
the data set's own converter, so that both files give the same scores.

https://github.com/liruilong940607/OCHumanApi
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clickpose.annotations import (
    ABSENT,
    OCCLUDED,
    VISIBLE,
    AnnotatedImage,
    AnnotationSet,
    PersonAnnotation,
    convert_set,
)
from clickpose.errors import InvalidAnnotation, InvalidSkeleton
from clickpose.skeleton import DEFAULT_SIGMA, Skeleton
from integrations.persons import Triples, box_inside, person, read_image
from integrations.records import Ledger, field, numbers

NAME = "ochuman19"
VISIBILITY = {"missing": ABSENT, "vis": VISIBLE, "self_occluded": VISIBLE, "others_occluded": OCCLUDED}
RELATIVES = ("coco17", "crowdpose14")  # whose sigmas and links its keypoints have


def is_ochuman(document: Any) -> bool:
    """Tell whether a JSON file is OCHuman's own."""
    return isinstance(document, dict) and {"keypoint_names", "keypoint_visible", "images"} <= set(document)


def read_ochuman(document: Mapping[str, Any], path: str | Path, *, wanted: str | None, skip_bad: bool) -> AnnotationSet:
    """Read the content of ``ochuman.json``, with all its keypoints or, if wanted, ``coco17``.

    Raises:
        InvalidAnnotation: a record is malformed, or another skeleton is wanted.
    """
    skeleton, meanings = _skeleton(document["keypoint_names"], path), _meanings(document["keypoint_visible"], path)
    if wanted not in (None, NAME, "coco17"):
        raise InvalidAnnotation(f"{path} holds no keypoints of skeleton {wanted!r}; it holds coco17, {NAME}")
    ledger = Ledger(path, skip_bad)

    def read_one(record: dict[str, Any], where: str) -> AnnotatedImage:
        image, people = read_image(record, where), field(record, "annotations", where)
        if not isinstance(people, list):
            raise InvalidAnnotation(f"{where}: field 'annotations' is no list")

        def read_one(record: dict[str, Any], where: str) -> PersonAnnotation:
            return _read_person(record, _read_triples(record, skeleton, meanings, where), image, where)

        return replace(image, persons=tuple(ledger.read(people, f"image {image.id}, annotation", read_one)))

    images = tuple(ledger.read(_numbered(document["images"], path), "image", read_one))
    ledger.report()
    read = AnnotationSet(skeleton, images)
    return convert_set(read, Skeleton.load(wanted)) if wanted == "coco17" else read


def _skeleton(names: Any, path: str | Path) -> Skeleton:
    try:
        relatives = [Skeleton.load(name) for name in RELATIVES]
        sigmas = {name: sigma for one in relatives for name, sigma in zip(one.keypoints, one.sigmas, strict=True)}
        links = [(one.keypoints[first], one.keypoints[second]) for one in relatives for first, second in one.links]
        return Skeleton.from_dict(
            {
                "name": NAME,
                "keypoints": names,
                "sigmas": [sigmas.get(name, DEFAULT_SIGMA) for name in names],
                "links": sorted({(names.index(a), names.index(b)) for a, b in links if a in names and b in names}),
            }
        )
    except (InvalidSkeleton, TypeError, AttributeError) as error:
        raise InvalidAnnotation(f"{path}: field 'keypoint_names': {error}") from error


def _meanings(visible: Any, path: str | Path) -> dict[float, int]:
    if not isinstance(visible, dict) or set(visible) - set(VISIBILITY):
        raise InvalidAnnotation(
            f"{path}: field 'keypoint_visible' is {visible!r}, numbers of {list(VISIBILITY)} expected"
        )
    return {number: VISIBILITY[name] for name, number in visible.items()}


def _numbered(images: Any, path: str | Path) -> list[Any]:
    """Give every image and person an ``id``, as the records of other files have."""
    if not isinstance(images, list):
        raise InvalidAnnotation(f"{path}: field 'images' is no list")
    image_ids, person_ids = itertools.count(1), itertools.count(1)

    def number(records: Any, ids: Iterator[int]) -> Any:
        if not isinstance(records, list):
            return records
        return [{**record, "id": next(ids)} if isinstance(record, dict) else record for record in records]

    return [
        {**image, "annotations": number(image.get("annotations"), person_ids)} if isinstance(image, dict) else image
        for image in number(images, image_ids)
    ]


def _read_triples(record: dict[str, Any], skeleton: Skeleton, meanings: Mapping[float, int], where: str) -> Triples:
    if "keypoints" in record and record["keypoints"] is None:
        return np.zeros((len(skeleton), 3))
    triples = numbers(record, "keypoints", where, 3 * len(skeleton)).reshape(len(skeleton), 3)
    if strange := set(triples[:, 2].tolist()) - set(meanings):
        raise InvalidAnnotation(f"{where}: field 'keypoints' has a visibility {strange.pop():g} of no meaning")
    triples[:, 2] = [meanings[v] for v in triples[:, 2].tolist()]
    return triples


def _read_person(record: dict[str, Any], triples: Triples, image: AnnotatedImage, where: str) -> PersonAnnotation:
    x0, y0, x1, y1 = numbers(record, "bbox", where, 4)
    if x1 < x0 or y1 < y0:
        raise InvalidAnnotation(f"{where}: field 'bbox' has a negative width or height")
    box_px = box_inside((x0, y0, x1, y1), image, where)
    return person(int(record["id"]), triples, box_px, float((x1 - x0) * (y1 - y0)))
