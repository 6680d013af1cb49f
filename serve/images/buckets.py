"""Images in buckets: ``s3://bucket/folder``, ``gs://bucket/folder``, or any other URI that ``pyarrow.fs`` supports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from urllib.parse import unquote, urlsplit

import pyarrow
from pyarrow import fs

from clickpose.errors import ImageError

READERS = 8


class BucketFiles:
    """Reads files below one URI, and no others.

    Args:
        root: the URI; its credentials (``s3://key:secret@bucket``) and settings (``?endpoint_override=...``) never
            appear in names or messages.
    """

    def __init__(self, root: str) -> None:
        parts = urlsplit(root)
        self.root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._uri = root

    def has(self, name: str) -> bool:
        """Return whether a name is below the root; a percent-encoded ``..`` is detected, too."""
        return name.startswith(f"{self.root}/") and ".." not in unquote(name).split("/")

    def fetch(self, name: str, *, max_bytes: int, timeout_s: float) -> bytes:
        """Return a file's bytes; of a file that is too long, one byte more than allowed.

        Raises:
            ImageError: the file does not exist, cannot be read, or takes too long.
        """
        try:
            return self._readers.submit(self._read, name, max_bytes).result(timeout_s)
        except TimeoutError as error:
            raise ImageError(f"{name} could not be read within {timeout_s:g} s") from error
        except FileNotFoundError as error:
            raise ImageError(f"{name} does not exist") from error
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise ImageError(f"{name} could not be read: {error}") from error

    def _read(self, name: str, max_bytes: int) -> bytes:
        filesystem, path = self._opened
        with filesystem.open_input_stream(path + unquote(name.removeprefix(self.root))) as stream:
            return bytes(stream.read(max_bytes + 1))

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        """Threads that read; made on first use, since they cannot be sent to another process."""
        return ThreadPoolExecutor(READERS, thread_name_prefix="bucket")

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        """The file system and the root's path on it; opening it may look up the bucket's region."""
        filesystem, path = fs.FileSystem.from_uri(self._uri)
        return filesystem, path.rstrip("/")


def local_path(name: str) -> str | None:
    """Return the local path of a name without a scheme, or of a ``file:///`` URI; None for other URIs."""
    parts = urlsplit(name)
    if parts.scheme == "file" and not parts.netloc:
        return unquote(parts.path)
    return None if "://" in name else name  # frame:01.jpg is a file
