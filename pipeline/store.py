"""Bytes, folders and pointers below one root: a local folder, or a bucket (``s3://``, ``gs://``) on a cluster.

    models/<version>/           models/current (pointer)    models/history.json
    annotations/<snapshot>/     annotations/current (pointer)
    prelabels/<run>/
    reports/<round>/

A file appears under its name complete or not at all: it is written beside it and then moved. A pointer is a text file
of one name and a newline; a reader sees the old name or the new one, never a part.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pyarrow import fs

from clickpose.errors import StoreError
from integrations.store import explained, open_filesystem

OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})  # folders there are only prefixes of names


class Store:
    """Files below one root URI; names are relative to it and use forward slashes.

    Args:
        root_uri: a local path, or a URI that ``pyarrow.fs`` knows.

    Raises:
        StoreError: no file system answers to the URI.
    """

    def __init__(self, root_uri: str | Path) -> None:
        self.uri = str(root_uri) if "://" in str(root_uri) else str(Path(root_uri).absolute())
        self.filesystem, self._root = open_filesystem(self.uri)

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder on this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path_of(self, name: str) -> str:
        """Return the path that the file system knows ``name`` by; StoreError if it leads outside the store."""
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise StoreError(f"{name!r} leads outside the store {self.uri}")
        return "/".join(part for part in (self._root, name) if part)

    def uri_of(self, name: str) -> str:
        """Return the URI of ``name``, with which another ``Store`` can be opened."""
        if "://" not in self.uri:
            return self.path_of(name)
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name exists."""
        with explained(self.uri_of(name), "looked up"):
            return bool(self.filesystem.get_file_info(self.path_of(name)).type != fs.FileType.NotFound)

    def names(self, name: str = "") -> list[str]:
        """Return the sorted names directly inside a folder; none if there is no such folder.

        Names that start with a dot are left out: they are files still being written.
        """
        return sorted(info.base_name for info in self._inside(name))

    def folders(self, name: str = "") -> list[str]:
        """Return the sorted names of the folders directly inside a folder; none if there is no such folder."""
        return sorted(info.base_name for info in self._inside(name) if info.type == fs.FileType.Directory)

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file; StoreError if there is none."""
        with explained(self.uri_of(name), "read"), self.filesystem.open_input_stream(self.path_of(name)) as stream:
            return bytes(stream.read())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write or replace a file in one step, as every other reader and writer sees it."""
        path = PurePosixPath(self.path_of(name))
        unfinished = str(path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp"))
        with explained(self.uri_of(name), "written"):
            if self.filesystem.type_name not in OBJECT_STORES:
                self.filesystem.create_dir(str(path.parent), recursive=True)
            with self.filesystem.open_output_stream(unfinished) as stream:
                stream.write(data)
            self.filesystem.move(unfinished, str(path))

    def delete(self, name: str) -> None:
        """Remove a file, or a folder with everything in it; nothing happens if it does not exist."""
        path = self.path_of(name)
        with explained(self.uri_of(name), "deleted"):
            kind = self.filesystem.get_file_info(path).type
            if kind == fs.FileType.Directory:
                self.filesystem.delete_dir(path)
            elif kind == fs.FileType.File:
                self.filesystem.delete_file(path)

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file; StoreError if it is missing or broken."""
        try:
            return json.loads(self.read_bytes(name))
        except ValueError as error:
            raise StoreError(f"{self.uri_of(name)} is not JSON: {error}") from error

    def write_json(self, name: str, value: Any) -> None:
        """Write or replace a JSON file in one step."""
        self.write_bytes(name, (json.dumps(value, indent=2) + "\n").encode())

    def read_pointer(self, name: str) -> str | None:
        """Return the name that a pointer holds, or None if it was never written."""
        return self.read_bytes(name).decode().strip() or None if self.exists(name) else None

    def write_pointer(self, name: str, target: str) -> None:
        """Write a pointer to ``target``."""
        self.write_bytes(name, f"{target}\n".encode())

    def put_folder(self, folder: str | Path, name: str) -> dict[str, str]:
        """Copy a local folder into the store and return the SHA-256 of each file by its name inside the folder.

        Raises:
            StoreError: there is no such local folder, or the store already has something of that name.
        """
        if not Path(folder).is_dir():
            raise StoreError(f"{folder} is not a folder, so it cannot be stored as {name!r}")
        if self.exists(name):
            raise StoreError(f"{self.uri_of(name)} is already there; stored folders are never overwritten")
        for file in files_of(folder):
            self.write_bytes(f"{name}/{file}", (Path(folder) / file).read_bytes())
        return folder_hashes(folder)

    def get_folder(self, name: str, folder: str | Path) -> None:
        """Copy a folder of the store, with everything in it, to a local folder; StoreError if there is none."""
        if not self.exists(name):
            raise StoreError(f"there is no folder {self.uri_of(name)}")
        for file in self.files(name):
            target = Path(folder) / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read_bytes(f"{name}/{file}" if name else file))

    def num_bytes(self, name: str) -> int:
        """Return the size of a file, or of all files below a folder; 0 if there is neither."""
        path = self.path_of(name)
        with explained(self.uri_of(name), "listed"):
            selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
            (info,) = self.filesystem.get_file_info([path])
            infos = self.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory else [info]
        return sum(info.size or 0 for info in infos if info.type == fs.FileType.File)

    def _inside(self, name: str) -> list[fs.FileInfo]:
        with explained(self.uri_of(name), "listed"):
            found = self.filesystem.get_file_info(fs.FileSelector(self.path_of(name), allow_not_found=True))
        return [info for info in found if not info.base_name.startswith(".")]

    def files(self, name: str) -> list[str]:
        """Return the sorted names, relative to a folder, of every finished file below it; none if it is missing."""
        root = self.path_of(name)
        with explained(self.uri_of(name), "listed"):
            infos = self.filesystem.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        files = [info.path[len(root) :].lstrip("/") for info in infos if info.type == fs.FileType.File]
        return sorted(file for file in files if not PurePosixPath(file).name.startswith("."))


def local_folder(uri: str | Path, cache: str | Path | None = None) -> Path:
    """Return a folder as a local path: itself if it is local, else a copy that is made once.

    Args:
        uri: a local path or URI of a folder whose content never changes, e.g. a stored model.
        cache: where copies are kept; the user's cache folder by default.

    Raises:
        StoreError: the folder is missing or cannot be read.
    """
    store = Store(uri)
    if store.is_local:
        if not Path(store.path_of("")).is_dir():
            raise StoreError(f"there is no folder {uri}")
        return Path(store.path_of(""))
    home = Path(cache or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "clickpose")
    copy = home / hashlib.sha256(store.uri.encode()).hexdigest()[:16] / PurePosixPath(store.path_of("")).name
    if not copy.exists():
        _download(store, copy)
    return copy


def _download(store: Store, copy: Path) -> None:
    """Copy a whole store to a new local folder; an interrupted copy leaves nothing under the final name."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent) as unfinished:
        store.get_folder("", Path(unfinished) / "copy")
        try:
            (Path(unfinished) / "copy").rename(copy)
        except OSError:
            if not copy.exists():  # else another process has made the same copy
                raise


def files_of(folder: str | Path) -> list[str]:
    """Sorted names, relative to a local folder, of all files below it; dot files are left out."""
    files = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
    return sorted(file.as_posix() for file in files if not file.name.startswith("."))


def folder_hashes(folder: str | Path) -> dict[str, str]:
    """SHA-256 of every file below a local folder, by its name relative to the folder."""
    return {file: hashlib.sha256((Path(folder) / file).read_bytes()).hexdigest() for file in files_of(folder)}
