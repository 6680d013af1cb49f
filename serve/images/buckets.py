"""Pictures in buckets: ``s3://bucket/folder``, ``gs://bucket/folder``, whatever ``pyarrow.fs`` knows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from urllib.parse import unquote, urlsplit

import pyarrow
from pyarrow import fs

from clickpose.errors import ImageError

READERS = 8


class BucketFiles:
    """Reads what lies below one URI, and nothing else.

    Args:
        root: the URI; keys in it (``s3://key:secret@bucket``) and settings (``?endpoint_override=...``) are no part of
            names, nor of messages.
    """

    def __init__(self, root: str) -> None:
        parts = urlsplit(root)
        self.root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._uri = root

    def has(self, name: str) -> bool:
        """Tell whether a name means something below the root; percent-encoding hides no step upwards."""
        return name.startswith(f"{self.root}/") and ".." not in unquote(name).split("/")

    def fetch(self, name: str, *, max_bytes: int, timeout_s: float) -> bytes:
        """Return the bytes of a file, or one byte more than allowed of a file that is too long.

        Raises:
            ImageError: it is not there, cannot be read, or takes too long.
        """
        try:
            return self._readers.submit(self._read, name, max_bytes).result(timeout_s)
        except TimeoutError as error:
            raise ImageError(f"{name} cannot be read: it takes too long") from error
        except FileNotFoundError as error:
            raise ImageError(f"{name} is not there") from error
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise ImageError(f"{name} cannot be read: {error}") from error

    def _read(self, name: str, max_bytes: int) -> bytes:
        filesystem, path = self._opened
        with filesystem.open_input_stream(path + unquote(name.removeprefix(self.root))) as stream:
            return bytes(stream.read(max_bytes + 1))

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        """Made on first use: until then this object can be sent to another process."""
        return ThreadPoolExecutor(READERS, thread_name_prefix="bucket")

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        """The file system and the root's path on it; opening one may ask the network for its region."""
        filesystem, path = fs.FileSystem.from_uri(self._uri)
        return filesystem, path.rstrip("/")


def local_path(name: str) -> str | None:
    """Return the path that a name without a scheme, or a ``file:///`` URI, means on this machine; else None."""
    parts = urlsplit(name)
    if parts.scheme == "file" and not parts.netloc:
        return unquote(parts.path)
    return None if parts.scheme else name
