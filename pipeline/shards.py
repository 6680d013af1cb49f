"""Pre-labels on disk: Parquet that any tool reads, one file per shard of images in each of two data sets.

    persons/part-<shard>.parquet   a row per person: image, person, box, score, keypoints, visibility
    images/part-<shard>.parquet    a row per labelled image; written last, so that a shard counts with it
    failed.parquet                 a row per image that could not be labelled, with the reason
    manifest.json                  counts, the model, and what was left out

The model and its skeleton are in the metadata of both schemas; ``docs/prelabelling.md`` describes every column. A
shard's name is a function of its images and the model: written twice, it is the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clickpose.errors import StoreError
from clickpose.skeleton import Skeleton
from pipeline.listing import ListedImage
from pipeline.prelabelled import (
    FAILED_SCHEMA,
    IMAGE_SCHEMA,
    PERSON_SCHEMA,
    WORTH,
    Failure,
    Model,
    Prelabel,
    file_row,
    image_row,
    person_row,
    read_file_rows,
    read_person_row,
)
from pipeline.roots import ROOTS
from pipeline.store import Store

PERSONS, IMAGES, FAILED, MANIFEST = "persons", "images", "failed.parquet", "manifest.json"
WRITTEN = (PERSONS, IMAGES, FAILED, MANIFEST, ROOTS)
READERS, READ_AHEAD = 16, 256  # a bucket answers many requests at once


def shard_name(images: Sequence[ListedImage], model: Model) -> str:
    """Return the name of a shard, a hash of its images and the model's content."""
    lines = "\n".join([model.digest, *(f"{image.name} {image.num_bytes} {image.modified_ns}" for image in images)])
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def write_shard(store: Store, name: str, prelabels: Sequence[Prelabel], model: Model) -> None:
    """Write the rows of a shard; an incomplete shard does not count."""
    metadata = {
        "model_version": model.version,
        "model_digest": model.digest,
        "keypoints": json.dumps(model.skeleton.keypoints),
        "skeleton": json.dumps(model.skeleton.to_dict()),
    }
    persons = [
        person_row(prelabel.image, number, pose) for prelabel in prelabels for number, pose in enumerate(prelabel.poses)
    ]
    images = [image_row(prelabel) for prelabel in prelabels]
    for folder, rows, schema in ((PERSONS, persons, PERSON_SCHEMA), (IMAGES, images, IMAGE_SCHEMA)):
        table = pa.Table.from_pylist(rows, schema=schema.with_metadata(metadata))
        _write_table(store, _file(folder, name), table)


def refuse_others(store: Store) -> None:
    """Raise StoreError if a folder has files where pre-labels would lie that are none: ``images`` is a common name."""
    for folder in (PERSONS, IMAGES):
        if others := [name for name in store.names(folder) if not _is_shard(name)]:
            raise StoreError(
                f"{store.uri_of(f'{folder}/{others[0]}')} is not a pre-label: choose another folder for the pre-labels"
            )
    if store.exists(MANIFEST) and "model_digest" not in store.read_json(MANIFEST):
        raise StoreError(f"{store.uri_of(MANIFEST)} is not one of pre-labels: choose another folder for them")


def refuse_old(store: Store) -> None:
    """Raise StoreError if an older version wrote to the folder, in one file per shard."""
    if any(name.startswith("part-") for name in store.names()):
        raise StoreError(f"{store.uri} was written by an older version: label into another folder, or with --fresh")


def shard_names(store: Store, folder: str = IMAGES) -> list[str]:
    """Return the sorted names of the shards that are written."""
    files = [name for name in store.names(folder) if _is_shard(name)]
    return [file.removeprefix("part-").removesuffix(".parquet") for file in files]


def drop_halves(store: Store) -> None:
    """Delete leftovers of interrupted writers: persons of an incomplete shard."""
    for name in set(shard_names(store, PERSONS)) - set(shard_names(store)):
        store.delete(_file(PERSONS, name))


def drop_rows(store: Store, name: str, is_kept: Sequence[bool]) -> None:
    """Delete some images of a shard, and their persons; the shard with the last one."""
    images, persons = _read_table(store, _file(IMAGES, name)), _read_table(store, _file(PERSONS, name))
    kept_persons = np.repeat(np.asarray(is_kept, bool), images["num_persons"].to_numpy())
    for folder, table, mask in ((PERSONS, persons, kept_persons), (IMAGES, images, np.asarray(is_kept, bool))):
        if any(is_kept):
            _write_table(store, _file(folder, name), table.filter(pa.array(mask)))
    if not any(is_kept):
        for folder in (IMAGES, PERSONS):
            store.delete(_file(folder, name))


def read_images(store: Store, names: Sequence[str] | None = None) -> Iterator[tuple[str, str, list[ListedImage]]]:
    """Yield the name of each shard, or of some, with the digest of its model, and its images."""
    names = shard_names(store) if names is None else names

    def read(name: str) -> tuple[str, str, list[ListedImage]]:
        table = _read_table(store, _file(IMAGES, name))
        return name, _metadata(table).get("model_digest", ""), read_file_rows(table)

    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(names), READ_AHEAD):
            yield from pool.map(read, names[first : first + READ_AHEAD])


def read_prelabels(folder: str) -> Iterator[Prelabel]:
    """Yield every labelled image of a folder or URI of pre-labels, shard by shard.

    Raises:
        StoreError: a shard cannot be read, or two hold the same image.
    """
    store, seen = Store(folder), set[int]()
    refuse_old(store)
    for name in shard_names(store):
        for prelabel in _read_shard(store, name):
            if (key := hash(prelabel.image.name)) in seen:
                raise StoreError(
                    f"{store.uri} holds {prelabel.image.name} twice: run clickpose prelabel again to mend that"
                )
            seen.add(key)
            yield prelabel


def read_skeleton(folder: str) -> Skeleton:
    """Return the skeleton of the poses in a folder of pre-labels; StoreError if there are none."""
    store = Store(folder)
    for name in shard_names(store):
        return Skeleton.from_dict(json.loads(_metadata(_read_table(store, _file(IMAGES, name)))["skeleton"]))
    raise StoreError(f"there are no pre-labels in {store.uri}: is it the folder that clickpose prelabel wrote?")


def write_failures(store: Store, failures: Sequence[Failure]) -> None:
    """Write the list of images that could not be labelled; an empty list says that none failed."""
    rows = [file_row(failure.image) | {"reason": failure.reason} for failure in failures]
    _write_table(store, FAILED, pa.Table.from_pylist(rows, schema=FAILED_SCHEMA))


def read_failures(folder: str) -> list[Failure]:
    """Return the images that could not be labelled; StoreError if the run has not finished."""
    table = _read_table(Store(folder), FAILED)
    return [Failure(*row) for row in zip(read_file_rows(table), table["reason"].to_pylist(), strict=True)]


def delete_prelabels(store: Store) -> None:
    """Delete all pre-labels, and nothing else."""
    for name in (*WRITTEN, *(name for name in store.names() if name.startswith("part-"))):
        store.delete(name)


def _read_shard(store: Store, name: str) -> Iterator[Prelabel]:
    images, persons = _read_table(store, _file(IMAGES, name)), _read_table(store, _file(PERSONS, name))
    counts = images["num_persons"].to_pylist()
    if sum(counts) != len(persons):
        raise StoreError(
            f"{store.uri_of(_file(PERSONS, name))} does not hold the persons of its images: label them again"
        )
    poses, version = iter(persons.to_pylist()), _metadata(images).get("model_version", "")
    sizes = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
    worth = zip(*(images[name].to_pylist() for name in WORTH), _appearances(images), strict=True)
    for image, size_wh, count, more in zip(read_file_rows(images), sizes, counts, worth, strict=True):
        yield Prelabel(image, size_wh, tuple(read_person_row(next(poses)) for _ in range(count)), version, *more)


def _appearances(images: pa.Table) -> list[tuple[float, ...]]:
    """Return the column, which earlier versions did not write."""
    if "appearance" not in images.column_names:
        return [()] * len(images)
    return [tuple(numbers or ()) for numbers in images["appearance"].to_pylist()]


def _is_shard(file: str) -> bool:
    return file.startswith("part-") and file.endswith(".parquet")


def _file(folder: str, name: str) -> str:
    return f"{folder}/part-{name}.parquet"


def _metadata(table: pa.Table) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}


def _write_table(store: Store, name: str, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.write_bytes(name, sink.getvalue().to_pybytes())


def _read_table(store: Store, name: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(store.read_bytes(name)), use_threads=False)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{store.uri_of(name)} is no Parquet file: {error}") from error
