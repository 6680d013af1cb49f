"""Pictures by name, here or in a bucket: found from a folder, a pattern or a list, and read by whoever needs them.

A picture on this machine goes by its absolute path, any other by a URI in which odd characters are percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import pyarrow
from PIL import Image
from pyarrow import fs

from clickpose.errors import ClickPoseError, ImageError
from clickpose.images import decode_image, read_image, refuse_large_file
from integrations.store import open_filesystem

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
WILDCARDS = re.compile(r"[*?\[]")


def find_pictures(source: str | Path | Iterable[str | Path]) -> list[str]:
    """Return the names of pictures, sorted and each once.

    Args:
        source: a folder (searched to the bottom), a pattern such as ``data/*.jpg`` (``*`` crosses folders), a
            picture, a text file with one name a line, or the names themselves. Only a folder or pattern is
            looked into: a name that leads nowhere is kept, and is found out when somebody reads it.

    Raises:
        ImageError: there is nothing there, or no picture in it.
    """
    if not isinstance(source, str | Path):
        names = [full_name(name) for name in source]
    elif str(source).endswith(".txt"):
        names = _listed_in(Path(source))
    else:
        names = _found_at(full_name(source))
    if not names:
        raise ImageError(f"there are no pictures in {source if isinstance(source, str | Path) else 'an empty list'}")
    return sorted(set(names))


def read_picture(name: str) -> Image.Image:
    """Read and decode the picture of that name; see ``clickpose.images.decode_image``.

    Raises:
        ImageError: it is missing, unreadable, broken or beyond a limit.
    """
    if "://" not in name:
        return read_image(name)
    try:
        filesystem, path = _locate(name)
        refuse_large_file(filesystem.get_file_info(path).size or 0, name)
        with filesystem.open_input_stream(path) as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise ImageError(f"{name} cannot be read: there is no such picture") from error
    except (OSError, pyarrow.ArrowException, ClickPoseError) as error:
        raise ImageError(f"{name} cannot be read: {error}") from error
    return decode_image(bytes(data), name)


def full_name(name: str | Path) -> str:
    """Return the absolute path, or the URI, that a picture or folder goes by."""
    return str(name) if "://" in str(name) else str(Path(name).absolute())


def is_folder(name: str) -> bool:
    """Tell whether a full name is that of a folder."""
    filesystem, path = _locate(name)
    return bool(filesystem.get_file_info(path.rstrip("/")).type == fs.FileType.Directory)


def picture_exists(name: str) -> bool:
    """Tell whether there is a file of that full name."""
    filesystem, path = _locate(name)
    return bool(filesystem.get_file_info(path).type == fs.FileType.File)


def _listed_in(file: Path) -> list[str]:
    """Names from a text file; relative ones are relative to the file. Empty lines and ``#`` lines are passed over."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror}") from error
    names = [line for line in lines if line and not line.startswith("#")]
    return [name if "://" in name else str((file.parent / name).absolute()) for name in names]


def _found_at(name: str) -> list[str]:
    """Names of the pictures that a folder, a pattern or a single picture stands for."""
    filesystem, path = _locate(name)
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.File:
        return [name]
    if kind == fs.FileType.Directory:
        return [_name_like(name, found) for found in _pictures_below(filesystem, path)]
    wildcard = WILDCARDS.search(path)
    if wildcard is None:
        raise ImageError(f"there is no picture or folder {name}")
    folder = path[: wildcard.start()].rpartition("/")[0]
    return [_name_like(name, found) for found in _pictures_below(filesystem, folder) if fnmatchcase(found, path)]


def _pictures_below(filesystem: fs.FileSystem, folder: str) -> list[str]:
    infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    paths = [PurePosixPath(info.path) for info in infos if info.type == fs.FileType.File]
    return [str(path) for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]


def _locate(name: str) -> tuple[fs.FileSystem, str]:
    """File system of a picture or folder, and the path that it knows it by."""
    if "://" not in name:
        return fs.LocalFileSystem(), name
    parts = urlsplit(name)
    netloc = "" if parts.scheme == "file" else parts.netloc
    root = f"{parts.scheme}://{netloc}/" + (f"?{parts.query}" if parts.query else "")
    filesystem, _ = _open_once(root)
    path = unquote(parts.path)
    return filesystem, path if parts.scheme == "file" else f"{netloc}{path}".strip("/")


def _name_like(name: str, path: str) -> str:
    """Name of another path on the file system that ``name`` is on."""
    if "://" not in name:
        return path
    parts = urlsplit(name)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{'/' if not parts.netloc and not path.startswith('/') else ''}{quote(path)}{query}"


# Opening a bucket asks the network for its region, so each is opened once in every process.
_open_once = lru_cache(maxsize=16)(open_filesystem)
