"""Pictures that a program sends instead of naming: kept for a while under the name of their own content.

The front door keeps them and so does the replica that was asked first. A replica that is asked later, because the
picture became another one's or was forgotten, says so (``UploadMissing``) and is sent it again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from clickpose.errors import ImageError

PREFIX = "upload:"


class UploadMissing(ImageError):
    """The picture was sent to somebody else, or too long ago: it must be sent again."""


class Uploads:
    """Encoded pictures by name; the least recently used is forgotten first.

    Args:
        max_bytes: what all of them may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._data: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        """Number of pictures kept."""
        return len(self._data)

    @property
    def num_bytes(self) -> int:
        """Memory that they take."""
        return sum(map(len, self._data.values()))

    def keep(self, data: bytes) -> str:
        """Keep a picture and return its name, the same for the same bytes."""
        name = name_of(data)
        self._data[name] = data
        self._data.move_to_end(name)
        while self.num_bytes > self.max_bytes and len(self._data) > 1:
            self._data.popitem(last=False)
        return name

    def forget(self, name: str) -> None:
        """Keep a picture no longer."""
        self._data.pop(name, None)

    def read(self, name: str) -> bytes:
        """Return a picture's bytes.

        Raises:
            UploadMissing: it is not kept, or not any more.
        """
        if name not in self._data:
            raise UploadMissing(f"{name} is not kept here, or not any more: upload it again")
        self._data.move_to_end(name)
        return self._data[name]


def name_of(data: bytes) -> str:
    """Return the name of an uploaded picture, which nobody guesses who does not have it."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def is_upload(name: str) -> bool:
    """Tell whether a name is that of an uploaded picture."""
    return name.startswith(PREFIX)
