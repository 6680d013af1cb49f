"""Where models are loaded from: one folder, or a store whose file ``models/current`` contains the version."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pyarrow import fs

from clickpose.checkpoints.files import SKELETON
from clickpose.errors import StoreError
from clickpose.skeleton import Skeleton
from integrations.store import CURRENT, HISTORY, MODELS, VERSION, explained, line_to, open_filesystem

MAX_POINTER_BYTES = 1000

logger = logging.getLogger(__name__)


class ModelSource:
    """Reads the current version, and copies models to this machine.

    Args:
        store: root of a store, as a path or a URI that ``pyarrow.fs`` supports.
        folder: a model folder instead of a store; its version never changes.
    """

    def __init__(self, *, store: str | None = None, folder: str | None = None) -> None:
        where = store or str(folder)
        self.uri = where.rstrip("/") if "://" in where else os.path.abspath(where)  # "." has no name
        self._version = None if store else PurePosixPath(self.uri).name

    def wanted_version(self) -> str:
        """Return the version to serve.

        Raises:
            StoreError: the store cannot be read, or no model has been promoted yet.
        """
        if self._version is not None:
            return self._version
        text = _read(f"{self.uri}/{CURRENT}", MAX_POINTER_BYTES).decode(errors="replace").strip()
        if not VERSION.fullmatch(text):
            raise StoreError(
                f"{self.uri}/{CURRENT} does not contain a valid version: {text[:50]!r}; promote a model first"
            )
        return text

    def versions_before(self, version: str) -> list[str]:
        """Return the versions that were current before this one, newest first; empty if the history does not tell."""
        if self._version is not None:
            return []
        try:
            line = line_to(version, json.loads(_read(f"{self.uri}/{HISTORY}")))
        except (StoreError, ValueError, LookupError, TypeError) as error:
            logger.warning("%s/%s does not tell which models came before %s: %s", self.uri, HISTORY, version, error)
            return []
        return [name for name in map(str, reversed(line[:-1])) if VERSION.fullmatch(name)]

    def read_skeleton(self, version: str) -> Skeleton:
        """Return the skeleton of a version without loading its weights.

        Raises:
            StoreError: the store cannot be read, or has no such model.
            InvalidSkeleton: the model's skeleton is malformed.
        """
        uri = f"{self._folder(version)}/{SKELETON}"
        try:
            return Skeleton.from_dict(json.loads(_read(uri)))
        except ValueError as error:
            raise StoreError(f"{uri} is not JSON: {error}") from error

    @contextmanager
    def local_folder(self, version: str) -> Iterator[Path]:
        """Yield a version's folder, or a temporary copy if it is not on this machine.

        Raises:
            StoreError: the store cannot be read, or has no such model.
        """
        filesystem, path = open_filesystem(self._folder(version))
        if isinstance(filesystem, fs.LocalFileSystem):
            yield Path(path)
            return
        with TemporaryDirectory(prefix="clickpose-model-") as folder:
            with explained(self._folder(version)):
                fs.copy_files(path, folder, source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem())
            yield Path(folder)

    def _folder(self, version: str) -> str:
        return self.uri if self._version is not None else f"{self.uri}/{MODELS}/{version}"


def _read(uri: str, max_bytes: int | None = None) -> bytes:
    filesystem, path = open_filesystem(uri)
    with explained(uri), filesystem.open_input_stream(path) as stream:
        return bytes(stream.read(max_bytes))
