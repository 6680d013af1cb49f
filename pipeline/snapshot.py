"""Data set snapshots: what was annotated, by whom, from which model; each is named after its content.

    annotations/<snapshot>/annotations.json     COCO keypoints
    annotations/<snapshot>/provenance.parquet   a row for each keypoint of the annotations
    annotations/<snapshot>/manifest.json        counts, hashes, parent; written last: without it there is no snapshot
    annotations/current                         pointer to the newest one

The same annotations give the same snapshot, in any order. The hash of an image's file name decides whether it is held
back for comparison or trained on, so that this never changes as the data set grows.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import StoreError
from integrations.label_studio.provenance import KeypointRecord
from pipeline.dataset import coco_bytes, read_annotations
from pipeline.store import Store

SNAPSHOTS, CURRENT = "annotations", "annotations/current"
ANNOTATIONS, PROVENANCE, MANIFEST = "annotations.json", "provenance.parquet", "manifest.json"
HELD_BACK_SHARE = 0.2

PROVENANCE_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("annotation_id", pa.int64()),
        ("person_id", pa.int64()),
        ("keypoint", pa.string()),
        ("source", pa.string()),
        ("visibility", pa.int8()),
        ("user", pa.string()),
        ("model_version", pa.string()),
        ("lead_time_s", pa.float64()),
        ("updated_at", pa.string()),
    ]
)


@dataclass(frozen=True)
class Snapshot:
    """A frozen data set.

    Attributes:
        id: follows from the content, e.g. ``s-3f9a2c1b77e0``.
        parent: the snapshot that was current when this one was taken, if any.
        annotations: the images, sorted by file name.
        provenance: how each keypoint came about.
    """

    id: str
    parent: str | None
    annotations: AnnotationSet
    provenance: tuple[KeypointRecord, ...]


def take_snapshot(store: Store, annotations: AnnotationSet, provenance: Iterable[KeypointRecord] = ()) -> Snapshot:
    """Freeze a data set and make it the current one; existing files are not written again.

    Raises:
        StoreError: the store cannot be written.
    """
    annotations, records = _sorted_annotations(annotations), _sorted_records(provenance)
    contents = {ANNOTATIONS: coco_bytes(annotations), PROVENANCE: _provenance_bytes(records)}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    snapshot_id = f"s-{hashlib.sha256(''.join(hashes.values()).encode()).hexdigest()[:12]}"
    current = current_snapshot(store)
    if not store.exists(f"{SNAPSHOTS}/{snapshot_id}/{MANIFEST}"):
        for name, data in contents.items():
            store.write_bytes(f"{SNAPSHOTS}/{snapshot_id}/{name}", data)
        manifest = _manifest(annotations, records) | {"parent": current, "sha256": hashes}
        store.write_json(f"{SNAPSHOTS}/{snapshot_id}/{MANIFEST}", manifest)
    if snapshot_id != current:
        store.write_pointer(CURRENT, snapshot_id)
    return load_snapshot(store, snapshot_id)


def load_snapshot(store: Store, snapshot_id: str) -> Snapshot:
    """Read a snapshot back.

    Raises:
        StoreError: there is no such snapshot, or a file is not what was written.
    """
    folder = f"{SNAPSHOTS}/{snapshot_id}"
    manifest = read_manifest(store, snapshot_id)
    for name, sha256 in manifest["sha256"].items():
        if hashlib.sha256(store.read_bytes(f"{folder}/{name}")).hexdigest() != sha256:
            raise StoreError(f"{store.uri_of(f'{folder}/{name}')} is not what was written")
    table = pq.read_table(io.BytesIO(store.read_bytes(f"{folder}/{PROVENANCE}")), use_threads=False)
    records = tuple(KeypointRecord(**row) for row in table.to_pylist())
    return Snapshot(snapshot_id, manifest["parent"], read_annotations(store.uri_of(f"{folder}/{ANNOTATIONS}")), records)


def read_manifest(store: Store, snapshot_id: str) -> dict[str, Any]:
    """Return a snapshot's counts, hashes, parent and time; StoreError if there is no such snapshot."""
    name = f"{SNAPSHOTS}/{snapshot_id}/{MANIFEST}"
    if not store.exists(name):
        raise StoreError(f"there is no snapshot {snapshot_id!r} in {store.uri_of(SNAPSHOTS)}")
    return dict(store.read_json(name))


def current_snapshot(store: Store) -> str | None:
    """Return the id of the newest snapshot, or None before the first."""
    return store.read_pointer(CURRENT)


def split(
    annotations: AnnotationSet, held_back_share: float = HELD_BACK_SHARE, gold: Collection[str] = ()
) -> tuple[AnnotationSet, AnnotationSet]:
    """Return the images to train on and those held back: ``gold`` by file name, and a share in [0, 1] of all."""

    def is_out(image: AnnotatedImage) -> bool:
        return image.file_name in gold or is_held_back(image.file_name, held_back_share)

    train = tuple(image for image in annotations.images if not is_out(image))
    held_back = tuple(image for image in annotations.images if is_out(image))
    return replace(annotations, images=train), replace(annotations, images=held_back)


def is_held_back(file_name: str, share: float = HELD_BACK_SHARE) -> bool:
    """Whether an image is held back: a function of its name, so that it never changes."""
    return int.from_bytes(hashlib.sha256(file_name.encode()).digest()[:8]) < share * 2**64


def _sorted_annotations(annotations: AnnotationSet) -> AnnotationSet:
    def sort_persons(image: AnnotatedImage) -> AnnotatedImage:
        return replace(image, persons=tuple(sorted(image.persons, key=lambda person: person.id)))

    images = sorted(annotations.images, key=lambda image: (image.file_name, image.id))
    return replace(annotations, images=tuple(sort_persons(image) for image in images))


def _sorted_records(records: Iterable[KeypointRecord]) -> list[KeypointRecord]:
    return sorted(records, key=lambda record: tuple(str(getattr(record, field.name)) for field in fields(record)))


def _provenance_bytes(records: Sequence[KeypointRecord]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(record) for record in records], schema=PROVENANCE_SCHEMA), sink)
    return sink.getvalue()


def _manifest(annotations: AnnotationSet, records: Sequence[KeypointRecord]) -> dict[str, Any]:
    train, held_back = split(annotations)
    lead_times_s = {record.annotation_id: record.lead_time_s for record in records}
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "skeleton": annotations.skeleton.name,
        "images": len(annotations),
        "images_to_train": len(train),
        "images_held_back": len(held_back),
        "persons": annotations.num_persons,
        "keypoints_by_source": dict(sorted(Counter(record.source for record in records).items())),
        "annotators": sorted({record.user for record in records if record.user}),
        "lead_time_s": round(sum(lead_times_s.values()), 3),
    }
