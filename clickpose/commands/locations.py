"""Where commands read and write: a local path, or the URI of a file or folder in a bucket.

What a URI names is copied to this machine before a command reads it, and after a command wrote it, to the URI. Images
are an exception: they are read from where they are.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from clickpose.errors import StoreError


def is_uri(text: str | Path) -> bool:
    """Tell whether a location is a URI; a path that went through ``Path`` has lost a slash and is none."""
    return "://" in str(text)


def readable_folder(text: str | Path) -> Path:
    """Return a folder on this machine: the one named, or a copy, made once, of what a URI names.

    Raises:
        StoreError: the URI cannot be read.
    """
    if not is_uri(text):
        return Path(text)
    from pipeline.store import local_folder

    return local_folder(text)


def readable_file(text: str | Path) -> Path:
    """Return a file on this machine: the one named, or a copy of what a URI names, kept while the command runs.

    Raises:
        StoreError: the URI cannot be read.
    """
    if not is_uri(text):
        return Path(text)
    from pipeline.store import Store

    parent, name = _split(str(text))
    copy = Path(tempfile.mkdtemp(dir=_copies().name)) / name
    copy.write_bytes(Store(parent).read_bytes(name))
    return copy


def _split(uri: str) -> tuple[str, str]:
    """Return the URI of the folder that a file or folder is in, and its name there; a query belongs to the bucket."""
    parts = urlsplit(uri)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return urlunsplit(parts._replace(path=f"{folder}/")), unquote(name)


@functools.cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="clickpose-")


def writable_file(text: str) -> str:
    """Return where a file is to be written, as given; nothing is written yet. URIs are not checked.

    Raises:
        StoreError: it is a folder, below a file, or must not be written.
    """
    if is_uri(text):
        return text
    path = Path(text).absolute()
    existing = next(one for one in (path, *path.parents) if one.exists())
    if path.is_dir():
        raise StoreError(f"{text} is a folder: name a file to write")
    if existing != path and not existing.is_dir():
        raise StoreError(f"{text} cannot be written: {existing} is not a folder")
    if not os.access(existing, os.W_OK):
        raise StoreError(f"{text} cannot be written: you may not write to {existing}")
    return text


@contextmanager
def written(out: str) -> Iterator[Path]:
    """Give a local path to write a file or folder to; if ``out`` is a URI, it is copied there afterwards."""
    if not is_uri(out):
        yield Path(out)
        return
    from pipeline.store import Store

    parent, name = _split(out)
    with tempfile.TemporaryDirectory(prefix="clickpose-") as here:
        yield Path(here) / name
        for path in Path(here).rglob("*"):
            if path.is_file():
                Store(parent).write_bytes(path.relative_to(here).as_posix(), path.read_bytes())
