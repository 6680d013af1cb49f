"""Images by name, local or in a bucket.

The name of a local image is its absolute path, of any other a URI in which special characters are percent-encoded.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import pyarrow
from PIL import Image
from pyarrow import fs

from clickpose.errors import ClickPoseError, ImageError
from clickpose.images import decode_image, read_image, refuse_large_file
from integrations.store import open_filesystem

WILDCARDS = re.compile(r"[*?\[]")


def read_image_at(name: str) -> Image.Image:
    """Read and decode the image of that name; see ``clickpose.images.decode_image``.

    Raises:
        ImageError: it is missing, unreadable, broken or beyond a limit.
    """
    if "://" not in name:
        return read_image(name)
    if name.startswith("file://"):
        return read_image(os.fsdecode(unquote_to_bytes(urlsplit(name).path)))
    return decode_image(read_bytes(name), name)


def read_bytes(name: str) -> bytes:
    """Return the content of the file of that full name.

    Raises:
        ImageError: it is missing, unreadable or too long.
    """
    try:
        filesystem, path = locate(name)
        refuse_large_file(filesystem.get_file_info(path).size or 0, name)
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise ImageError(f"{name} cannot be read: there is no such file") from error
    except (OSError, pyarrow.ArrowException, ClickPoseError) as error:
        raise ImageError(f"{name} cannot be read: {error}") from error


def full_name(name: str | Path) -> str:
    """Return the absolute path, or the URI, that is the name of an image or folder."""
    text = os.fspath(name)
    if "://" in text:
        return text
    path = os.path.join(os.getcwd(), text)
    return path if path == os.path.normpath(path) else str(Path(path))  # Path interns every part, of millions too


def is_folder(name: str) -> bool:
    """Tell whether a full name is that of a folder."""
    filesystem, path = locate(name)
    return bool(filesystem.get_file_info(path.rstrip("/")).type == fs.FileType.Directory)


def image_exists(name: str) -> bool:
    """Tell whether there is a file of that full name."""
    filesystem, path = locate(name)
    return bool(filesystem.get_file_info(path).type == fs.FileType.File)


def locate(name: str) -> tuple[fs.FileSystem, str]:
    """File system of an image or folder, and the path that it knows it by."""
    if "://" not in name:
        return fs.LocalFileSystem(), name
    parts = urlsplit(name)
    netloc = "" if parts.scheme == "file" else parts.netloc
    root = f"{parts.scheme}://{netloc}/" + (f"?{parts.query}" if parts.query else "")
    filesystem, _ = open_once(root)
    path = unquote(parts.path)
    return filesystem, path if parts.scheme == "file" else f"{netloc}{path}".strip("/")


def name_like(name: str, path: str) -> str:
    """Name of another path on the file system that ``name`` is on."""
    if "://" not in name:
        return path if _is_utf8(path) else f"file://{quote(os.fsencode(path))}"
    parts = urlsplit(name)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{'/' if not parts.netloc and not path.startswith('/') else ''}{quote(path)}{query}"


def _is_utf8(path: str) -> bool:
    """Tell whether a path can be written as text; names from old archives cannot."""
    return not any("\udc80" <= character <= "\udcff" for character in path)


# Opening a bucket looks up its region, so each is opened once per process.
open_once = lru_cache(maxsize=16)(open_filesystem)
