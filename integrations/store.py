"""The models of a store as training writes them and the service reads them, and the file systems that stores lie on.

models/<version>/             a model folder; it never changes
models/<version>/record.json  its parent, time and hashes; written last, so that a version without it does not count
models/current                the current version; promotion and rollback replace this file atomically
models/history.json           every promotion and rollback, oldest first; "line" lists the versions up to that one
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import fs

from clickpose.errors import StoreError

MODELS, RECORD = "models", "record.json"
CURRENT, HISTORY = f"{MODELS}/current", f"{MODELS}/history.json"
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # what may be served
NUMBERED_VERSION = re.compile(r"v(\d{4,})-[0-9a-f]{8}")  # what the registry gives, e.g. v0007-3f9a2c1b


def record_of(version: str) -> str:
    """Return the name of a version's record in the store."""
    return f"{MODELS}/{version}/{RECORD}"


def line_to(version: str | None, events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the versions from the first promoted to this one, without those that were rolled back.

    An event whose pointer was never written, because the process crashed, is ignored: ``version`` is what the pointer
    says. Without an event, the result is ``version`` alone.
    """
    lines: list[list[str]] = [event["line"] for event in events if event["line"][-1] == version]
    return lines[-1] if lines else [version] if version else []


def open_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """Open the file system of a path or URI; return it with the path that it knows the URI by.

    Raises:
        StoreError: no file system answers to the URI.
    """
    try:
        filesystem, path = fs.FileSystem.from_uri(uri if "://" in uri else str(Path(uri).absolute()))
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise StoreError(
            f"{uri} cannot be opened; it must be a path, or a URI with s3://, gs:// or file://: {error}"
        ) from error
    return filesystem, path.rstrip("/")


@contextmanager
def explained(uri: str, done: str = "read") -> Iterator[None]:
    """Turn what a file system raises into a StoreError of one sentence, with the URI and what could not be ``done``."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{uri} does not exist") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise StoreError(f"{uri} cannot be {done}: {error}") from error
