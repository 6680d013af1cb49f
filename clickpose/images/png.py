"""PNG files as browsers read them: Pillow refuses a file for one damaged comment, and uses the last of several EXIFs.

chunk      a part of the file: the length of its content, four letters, the content, and a checksum
optional   a chunk without which the image can be decoded: text, EXIF, colours; its first letter is lower-case
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXIF, LOWER_CASE = b"eXIf", 0x20


def drop_ignored_chunks(data: bytes) -> bytes:
    """Return a PNG without optional chunks that are damaged, and with the first EXIF only; other files as is."""
    if not data.startswith(SIGNATURE):
        return data
    kept, at = [], 0
    for start, end in _ignored(data):
        kept.append(data[at:start])
        at = end
    return b"".join((*kept, data[at:])) if kept else data


def _ignored(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each chunk that browsers ignore."""
    view, at, has_exif = memoryview(data), len(SIGNATURE), False
    while at + 8 < len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if kind[0] & LOWER_CASE:
            is_sound = zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(view[end - 4 : end])
            if not is_sound or (kind == EXIF and has_exif):
                yield at, end
            has_exif = has_exif or (is_sound and kind == EXIF)
        at = end
