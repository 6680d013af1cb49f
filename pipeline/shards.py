"""Pre-labels on disk: shards of pictures, one Parquet file each, readable without us.

    part-<shard>.parquet    a row for each labelled picture: uri, width, height, poses (JSON), model_version
    failed.parquet          a row for each picture that could not be labelled: uri, reason
    manifest.json           counts, hashes and the model

A part's name is a function of its pictures and the model: written twice, it is the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clickpose.annotations import Pose
from clickpose.errors import StoreError
from pipeline.store import Store

FAILED, MANIFEST = "failed.parquet", "manifest.json"
PART_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("poses", pa.string()),
        ("model_version", pa.string()),
    ]
)
FAILED_SCHEMA = pa.schema([("uri", pa.string()), ("reason", pa.string())])
READERS = 16  # a bucket answers many requests at once


@dataclass(frozen=True)
class Model:
    """The model that labels: its version, the folder (path or URI) it lies in, and the hash of its content."""

    version: str
    folder: str
    digest: str


@dataclass(frozen=True)
class Shard:
    """Pictures that are labelled together, by name."""

    name: str
    uris: tuple[str, ...]


@dataclass(frozen=True)
class Prelabel:
    """A labelled picture; ``poses`` is empty where the model saw nobody."""

    uri: str
    size_wh: tuple[int, int]
    poses: tuple[Pose, ...]
    model_version: str


@dataclass(frozen=True)
class Failure:
    """A picture that could not be labelled, and the reason in one sentence."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Part:
    """A part that is already written: its name, the pictures in it, the model's digest and its own SHA-256."""

    name: str
    uris: tuple[str, ...]
    model_digest: str
    sha256: str


def plan_shards(uris: Sequence[str], model: Model, shard_size: int) -> list[Shard]:
    """Cut a list of pictures into shards of at most ``shard_size``."""
    slices = (tuple(uris[first : first + shard_size]) for first in range(0, len(uris), shard_size))
    return [Shard(shard_name(pictures, model), pictures) for pictures in slices]


def shard_name(uris: Sequence[str], model: Model) -> str:
    """Name a shard after its pictures and the model, and nothing else."""
    lines = "\n".join([model.version, model.digest, *uris])
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def write_part(store: Store, name: str, prelabels: Sequence[Prelabel], model: Model) -> str:
    """Write a part in one step and return its SHA-256."""
    rows = [
        {
            "uri": prelabel.uri,
            "width": prelabel.size_wh[0],
            "height": prelabel.size_wh[1],
            "poses": json.dumps([pose_to_dict(pose) for pose in prelabel.poses]),
            "model_version": prelabel.model_version,
        }
        for prelabel in prelabels
    ]
    schema = PART_SCHEMA.with_metadata({"model_version": model.version, "model_digest": model.digest})
    return _write_table(store, f"part-{name}.parquet", pa.Table.from_pylist(rows, schema=schema))


def read_parts(store: Store) -> list[Part]:
    """Return what every part holds, without its poses."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda file: _read_part(store, file), part_files(store)))


def part_files(store: Store) -> list[str]:
    """Sorted names of the parts in a folder of pre-labels."""
    return [name for name in store.names() if name.startswith("part-") and name.endswith(".parquet")]


def read_prelabels(folder: str) -> Iterator[Prelabel]:
    """Yield every labelled picture of a folder or URI of pre-labels, part by part.

    Raises:
        StoreError: a part cannot be read.
    """
    store = Store(folder)
    for file in part_files(store):
        for row in _read_table(store, file).to_pylist():
            poses = tuple(pose_from_dict(values) for values in json.loads(row["poses"]))
            yield Prelabel(row["uri"], (row["width"], row["height"]), poses, row["model_version"])


def write_failures(store: Store, failures: Sequence[Failure]) -> None:
    """Write the list of pictures that could not be labelled; an empty list says that none failed."""
    rows = [{"uri": failure.uri, "reason": failure.reason} for failure in failures]
    _write_table(store, FAILED, pa.Table.from_pylist(rows, schema=FAILED_SCHEMA))


def read_failures(folder: str) -> list[Failure]:
    """Return the pictures that could not be labelled; StoreError if the run has not come to its end."""
    return [Failure(row["uri"], row["reason"]) for row in _read_table(Store(folder), FAILED).to_pylist()]


def pose_to_dict(pose: Pose) -> dict[str, Any]:
    """Plain values for JSON: pixels to a thousandth, scores to a ten-thousandth."""
    return {
        "keypoints_px": np.round(pose.keypoints_px.astype(float), 3).tolist(),
        "visibility": pose.visibility.tolist(),
        "scores": np.round(pose.scores.astype(float), 4).tolist(),
        "box_px": np.round(pose.box_px.astype(float), 3).tolist(),
        "score": round(float(pose.score), 4),
        "held": pose.held.tolist(),
    }


def pose_from_dict(values: dict[str, Any]) -> Pose:
    """Read a pose back from plain values."""
    return Pose(
        keypoints_px=np.asarray(values["keypoints_px"], np.float32).reshape(-1, 2),
        visibility=np.asarray(values["visibility"], np.int64),
        scores=np.asarray(values["scores"], np.float32),
        box_px=np.asarray(values["box_px"], np.float32),
        score=float(values["score"]),
        held=np.asarray(values["held"], bool),
    )


def _write_table(store: Store, name: str, table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    store.write_bytes(name, data)
    return hashlib.sha256(data).hexdigest()


def _read_table(store: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(store.read_bytes(name)), columns=columns)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{store.uri_of(name)} is no Parquet file: {error}") from error


def _read_part(store: Store, file: str) -> Part:
    table = _read_table(store, file, ["uri"])
    digest = (table.schema.metadata or {}).get(b"model_digest", b"").decode()
    sha256 = hashlib.sha256(store.read_bytes(file)).hexdigest()
    return Part(file.removeprefix("part-").removesuffix(".parquet"), tuple(table["uri"].to_pylist()), digest, sha256)
