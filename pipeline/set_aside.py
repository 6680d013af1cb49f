"""Annotations set aside because they look wrong: kept with the reason, and not used until they are accepted.

annotations/set_aside.json   {"set_aside": [{"content": ..., "file_name": ..., "annotation": "17", "user": ...,
                              "reason": ...}, ...], "accepted": ["17"]}

An annotation is identified by its content: one that was changed is checked again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from clickpose.annotations import AnnotatedImage, AnnotationSet, convert_set
from clickpose.errors import InvalidConfig
from clickpose.predictor import Predictor
from integrations.label_studio.provenance import KeypointRecord
from pipeline.dataset import ImageFolder
from pipeline.store import Store
from pipeline.suspicion import Suspicion, find_suspicious, poses_of

SET_ASIDE = "annotations/set_aside.json"


@dataclass(frozen=True)
class SetAside:
    """An annotation that is not used.

    Attributes:
        annotation: its id in Label Studio, or the file name of its image where it has none; what ``--accept`` takes.
        file_name: of the image.
        user: who submitted it; empty if unknown.
        reason: in one sentence.
        content: digest of the annotation.
    """

    annotation: str
    file_name: str
    user: str
    reason: str
    content: str


Judge: TypeAlias = Callable[[Path, AnnotationSet, Mapping[str, str], AnnotationSet, ImageFolder], list[Suspicion]]


def judge_by_champion(
    champion: Path, new: AnnotationSet, annotators: Mapping[str, str], trusted: AnnotationSet, images: ImageFolder
) -> list[Suspicion]:
    """Compare new annotations with the champion's predictions; see ``find_suspicious``."""
    predictor = Predictor.load(champion)
    skeleton = predictor.skeleton
    ours, theirs = convert_set(new, skeleton).images, convert_set(trusted, skeleton).images
    return find_suspicious(ours, annotators, theirs, skeleton, poses_of(predictor, images))


def set_aside(
    store: Store, suspicions: Iterable[Suspicion], annotations: AnnotationSet, records: Sequence[KeypointRecord]
) -> None:
    """Add annotations that look wrong to those set aside."""
    images = {image.file_name: image for image in annotations.images}
    submitted = {record.image_id: record for record in records}
    entries, accepted = _read(store)
    for suspicion in suspicions:
        image = images[suspicion.file_name]
        record = submitted.get(image.id)
        annotation, user = (str(record.annotation_id), record.user) if record else (image.file_name, "")
        entries.append(SetAside(annotation, image.file_name, user, suspicion.reason, content_of(image)))
    _write(store, entries, accepted)


def find_set_aside(store: Store, annotations: AnnotationSet) -> list[SetAside]:
    """Return the annotations of a data set that are set aside and were not accepted."""
    entries, accepted = _read(store)
    contents = {content_of(image) for image in annotations.images}
    return [entry for entry in entries if entry.content in contents and entry.annotation not in accepted]


def looked_at(store: Store, annotations: AnnotationSet) -> set[str]:
    """Return the file names of images whose annotations were set aside as they are, accepted ones included."""
    entries, _ = _read(store)
    known = {entry.content for entry in entries}
    return {image.file_name for image in annotations.images if content_of(image) in known}


def accept(store: Store, annotations: Collection[str]) -> None:
    """Use annotations that were set aside, given as ``SetAside.annotation``.

    Raises:
        InvalidConfig: one of them was never set aside.
    """
    entries, accepted = _read(store)
    known = {entry.annotation for entry in entries}
    if unknown := set(annotations) - known:
        there = ", ".join(sorted(known)) or "none"
        raise InvalidConfig(f"{', '.join(sorted(unknown))} is not set aside; these are: {there}")
    _write(store, entries, accepted | set(annotations))


def content_of(image: AnnotatedImage) -> str:
    """Return a digest of an image's name and annotations; the same annotations give the same one."""
    digest = hashlib.sha256(image.file_name.encode())
    for person in image.persons:
        digest.update(f"{person.id} {person.is_crowd}".encode() + person.keypoints_px.tobytes())
        digest.update(person.visibility.tobytes())
    return digest.hexdigest()[:16]


def annotators_of(annotations: AnnotationSet, records: Iterable[KeypointRecord]) -> dict[str, str]:
    """Return the annotator of each image, by file name."""
    users = {record.image_id: record.user for record in records}
    return {image.file_name: users[image.id] for image in annotations.images if image.id in users}


def _read(store: Store) -> tuple[list[SetAside], set[str]]:
    values: Mapping[str, Any] = store.read_json(SET_ASIDE) if store.exists(SET_ASIDE) else {}
    return [SetAside(**entry) for entry in values.get("set_aside", ())], set(values.get("accepted", ()))


def _write(store: Store, entries: Sequence[SetAside], accepted: Collection[str]) -> None:
    distinct = {entry.content: entry for entry in entries}
    values = {"set_aside": [asdict(entry) for entry in distinct.values()], "accepted": sorted(accepted)}
    store.write_json(SET_ASIDE, values)
