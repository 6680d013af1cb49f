"""Pictures by name, here or in a bucket: found from a folder, a pattern or a list, and read by whoever needs them.

A picture on this machine goes by its absolute path, any other by a URI in which odd characters are percent-encoded.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import pyarrow
from PIL import Image
from pyarrow import fs

from clickpose.errors import ClickPoseError, ImageError
from clickpose.images import decode_image, read_image, refuse_large_file
from integrations.store import open_filesystem

logger = logging.getLogger(__name__)

SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "pjpeg",
        "pjp",
        "png",
        "webp",
        "bmp",
        "dib",
        "gif",
        "tif",
        "tiff",
        "avif",
        "mpo",
        "jp2",
        "heic",
        "heif",
    ]
)
TOOLS_FOLDERS = frozenset({"@eadir", "__macosx"})  # copies and thumbnails, as are folders with a dot in front
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
    if name.startswith("file://"):
        return read_image(os.fsdecode(unquote_to_bytes(urlsplit(name).path)))
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
        lines = [line.strip() for line in _read_text(file).splitlines()]
    except OSError as error:
        raise ImageError(f"{file} cannot be read: {error.strerror}") from error
    names = [line for line in lines if line and not line.startswith("#")]
    return [name if "://" in name else str((file.parent / name).absolute()) for name in names]


def _read_text(file: Path) -> str:
    """Read UTF-8, with or without a mark, or UTF-16 with one; ImageError if it is neither."""
    data = file.read_bytes()
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"{file} is neither UTF-8 nor UTF-16 text: save it as UTF-8") from error


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
    """Paths of the pictures in a folder and its folders, but those that tools keep for themselves."""
    if isinstance(filesystem, fs.LocalFileSystem):
        paths = [PurePosixPath(path) for path in _files_below(folder)]
    else:
        infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
        paths = [PurePosixPath(info.path) for info in infos if info.type == fs.FileType.File]
    wanted = [path for path in paths if path.suffix.lower() in SUFFIXES and not _is_a_tools(path, folder)]
    if passed_over := len(paths) - len(wanted):
        logger.info("%s: %d files are no pictures, or belong to tools", folder, passed_over)
    return [str(path) for path in wanted]


def _files_below(folder: str) -> Iterator[str]:
    """Paths of all files in a folder on this machine; linked folders are followed, but never in a circle."""
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(parent))
        folders[:] = sorted(f for f in folders if os.path.realpath(os.path.join(parent, f)) not in visited)
        yield from (os.path.join(parent, file) for file in files)


def _is_a_tools(path: PurePosixPath, folder: str) -> bool:
    """Tell whether a file, or a folder between ``folder`` and it, is hidden or a tool's own."""
    below = path.parts[len(PurePosixPath(folder).parts) :]
    return any(part.startswith(".") or part.lower() in TOOLS_FOLDERS for part in below)


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
        return path if _is_utf8(path) else f"file://{quote(os.fsencode(path))}"
    parts = urlsplit(name)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{'/' if not parts.netloc and not path.startswith('/') else ''}{quote(path)}{query}"


def _is_utf8(path: str) -> bool:
    """Tell whether a path can be written as text; names from old archives cannot."""
    return not any("\udc80" <= character <= "\udcff" for character in path)


# Opening a bucket asks the network for its region, so each is opened once in every process.
_open_once = lru_cache(maxsize=16)(open_filesystem)
