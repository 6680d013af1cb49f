"""Uploaded images, stored in memory and named by a hash of their content.

The ingress stores them, and so does the replica that receives the first request. A replica that lacks one, because it
took over the image or has removed it, raises ``UploadMissing`` and receives it again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from clickpose.errors import ImageError

PREFIX = "upload:"


class UploadMissing(ImageError):
    """The image is not stored here, or has expired; upload it again."""


class Uploads:
    """Image files by name; the least recently used one is removed first.

    Args:
        max_bytes: maximum size of all files together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._data: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._data)

    def __contains__(self, name: str) -> bool:
        """Return whether an image is stored."""
        return name in self._data

    @property
    def num_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(map(len, self._data.values()))

    def keep(self, data: bytes) -> str:
        """Store an image file and return its name, which depends only on its bytes."""
        name = name_of(data)
        self._data[name] = data
        self._data.move_to_end(name)
        while self.num_bytes > self.max_bytes and len(self._data) > 1:
            self._data.popitem(last=False)
        return name

    def forget(self, name: str) -> None:
        """Remove an image."""
        self._data.pop(name, None)

    def read(self, name: str) -> bytes:
        """Return an image file.

        Raises:
            UploadMissing: it is not stored here, or has expired.
        """
        if name not in self._data:
            raise UploadMissing(f"{name} is not stored here, or has expired: upload it again")
        self._data.move_to_end(name)
        return self._data[name]


def name_of(data: bytes) -> str:
    """Return the name of an uploaded image; only the owner of the file can know it."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def is_upload(name: str) -> bool:
    """Return whether a name is that of an uploaded image."""
    return name.startswith(PREFIX)
