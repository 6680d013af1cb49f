"""Find images one by one: in a folder or bucket, by a pattern, or from a file that lists them.

Only the names in one folder are kept in memory, so that millions can be listed.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pyarrow import fs

from clickpose.errors import ClickPoseError, ImageError
from integrations.label_studio.addresses import LOCAL_FILES, name_in_url
from pipeline.image_files import WILDCARDS, full_name, locate, name_like, read_bytes
from pipeline.name_files import is_name_file, read_names

logger = logging.getLogger(__name__)

JPEG = {".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".mpo", ".jp2"}
OTHERS = {".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
SUFFIXES = frozenset(JPEG | OTHERS)
TOOLS_FOLDERS = frozenset({"@eadir", "__macosx"})  # copies and thumbnails, as are folders with a dot in front
LOOKED_UP, LOOKERS = 1000, 16  # names at once; a bucket answers many requests at once
MAX_EXAMPLES = 20


class ListedImage(NamedTuple):
    """An image by its path or URI, with size and time, which change if the file is replaced.

    Attributes:
        uri: absolute path, or URI.
        num_bytes: size of the file; None if that is not known.
        modified_ns: nanoseconds since 1970; None if that is not known.
        name: its path below the root it was found under, its name everywhere else; see ``roots``.
    """

    uri: str
    num_bytes: int | None = None
    modified_ns: int | None = None
    name: str = ""


@dataclass
class LeftOut:
    """The files that a search left out, by reason: their number, and the first of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Count a file or folder."""
        self.counts[reason] += 1
        if self.counts[reason] <= MAX_EXAMPLES:
            printable = path.encode(errors="replace").decode()
            self.examples.setdefault(reason, []).append(printable)

    def report(self) -> None:
        """Log the files that were left out."""
        for reason, count in self.counts.items():
            logger.info("left out %d (%s), such as %s", count, reason, self.examples[reason][0])


def find_images(source: str | Path | Iterable[str | Path]) -> list[str]:
    """Return the names of images, sorted and each once; see ``list_images``.

    Raises:
        ImageError: there is nothing there, or no image in it.
    """
    left_out = LeftOut()
    names = sorted({image.uri for image in list_images(source, left_out)})
    left_out.report()
    if not names:
        raise no_images(source)
    return names


def no_images(source: str | Path | Iterable[str | Path]) -> ImageError:
    """Return the error that no image was found."""
    return ImageError(f"there are no images in {source if isinstance(source, str | Path) else 'an empty list'}")


def list_images(source: str | Path | Iterable[str | Path], left_out: LeftOut | None = None) -> Iterator[ListedImage]:
    """Yield images, always in the same order.

    Args:
        source: a folder (searched to the bottom), a pattern such as ``data/*.jpg`` (``*`` crosses folders), an
            image, a file that lists names (``name_files``), or the names themselves. Only a folder or pattern is
            searched: a name without a file is kept, and fails when it is read.
        left_out: counts the files that are left out.

    Raises:
        ImageError: there is nothing there.
    """
    if not isinstance(source, str | Path):
        return _looked_up(full_name(name) for name in source)
    name = full_name(source)
    if is_name_file(name):
        return _looked_up(_listed_in(name))
    return _found_at(name, LeftOut() if left_out is None else left_out)


def _listed_in(name: str) -> list[str]:
    """Names from a file; relative ones are relative to it, and so are Label Studio's addresses of files on its disk."""
    path = locate(name)[1]

    def below(listed: str) -> str:
        if LOCAL_FILES in listed:
            listed = name_in_url(listed)
        elif "://" in listed:
            return listed
        return name_like(name, os.path.normpath(os.path.join(os.path.dirname(path), listed)))

    listed = read_names(read_bytes(name), name)
    if not listed:
        raise no_images(name)
    return [below(one) for one in listed]


def _looked_up(names: Iterable[str]) -> Iterator[ListedImage]:
    """Yield images given by name, with size and time where there is such a file."""
    remaining, unreachable = iter(names), set[str]()
    with ThreadPoolExecutor(LOOKERS) as pool:
        while some := list(islice(remaining, LOOKED_UP)):
            for found in pool.map(lambda names: [_look_up(name, unreachable) for name in names], _shared_out(some)):
                yield from found


def _shared_out(names: Sequence[str]) -> list[Sequence[str]]:
    """Cut names into parts, one for each thread: a task for every name would take longer than to look it up."""
    size = -(-len(names) // LOOKERS)
    return [names[first : first + size] for first in range(0, len(names), size)]


def _look_up(name: str, unreachable: set[str]) -> ListedImage:
    """Look up a file; a bucket that did not answer is not contacted again."""
    bucket = "/".join(name.split("/")[:3]) if "://" in name else ""
    if bucket in unreachable:
        return ListedImage(name)
    try:
        filesystem, path = locate(name)
        info = filesystem.get_file_info(path)
    except (OSError, ValueError, ClickPoseError):  # reading it later fails, and then the reason is listed
        unreachable.update({bucket} - {""})
        return ListedImage(name)
    return ListedImage(name, info.size, info.mtime_ns) if info.type == fs.FileType.File else ListedImage(name)


def _found_at(name: str, left_out: LeftOut) -> Iterator[ListedImage]:
    """Yield what a folder, a pattern or a single image stands for."""
    filesystem, path = locate(name)
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.File:
        return _looked_up([name])
    if kind == fs.FileType.Directory:
        return (found._replace(uri=name_like(name, found.uri)) for found in _below(filesystem, path, left_out))
    wildcard = WILDCARDS.search(path)
    if wildcard is None:
        raise ImageError(f"there is no image or folder {name}")
    folder = path[: wildcard.start()].rpartition("/")[0]
    found_below = _below(filesystem, folder, left_out)
    return (f._replace(uri=name_like(name, f.uri)) for f in found_below if fnmatchcase(f.uri, path))


def _below(filesystem: fs.FileSystem, folder: str, left_out: LeftOut) -> Iterator[ListedImage]:
    """Yield the images of a folder and its subfolders, by path, without those of tools."""
    if isinstance(filesystem, fs.LocalFileSystem):
        return _on_disk(folder, left_out, {os.path.realpath(folder)})
    return _in_bucket(filesystem, folder, left_out)


def _on_disk(folder: str, left_out: LeftOut, visited: set[str]) -> Iterator[ListedImage]:
    """Follow linked folders, too, but each only once."""
    try:
        names = os.listdir(folder)  # os.scandir's entries would take ten times the memory
    except OSError as error:
        left_out.add(f"a folder that cannot be read: {error.strerror}", folder)
        return
    names.sort()
    for name in names:
        path = os.path.join(folder, name)
        status = _status(path)
        is_folder = status is not None and stat.S_ISDIR(status.st_mode)
        if reason := _why_not(path, is_folder=is_folder):
            left_out.add(reason, path)
        elif not is_folder:
            yield ListedImage(path, status.st_size, status.st_mtime_ns) if status else ListedImage(path)
        elif (real := os.path.realpath(path)) in visited:
            left_out.add("a link to a folder that was searched already", path)
        else:
            visited.add(real)
            yield from _on_disk(path, left_out, visited)


def _status(path: str) -> os.stat_result | None:
    """Return None for a broken link, or one to itself: it is listed as failed when it is read."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _in_bucket(filesystem: fs.FileSystem, folder: str, left_out: LeftOut) -> Iterator[ListedImage]:
    inside = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    for info in sorted(inside, key=lambda info: info.path):
        is_folder = info.type == fs.FileType.Directory
        if reason := _why_not(info.path, is_folder=is_folder):
            left_out.add(reason, info.path)
        elif is_folder:
            yield from _in_bucket(filesystem, info.path, left_out)
        else:
            yield ListedImage(info.path, info.size, info.mtime_ns)


def _why_not(path: str, *, is_folder: bool) -> str:
    """Return why a file or folder is left out; empty if it is not."""
    name = path.rpartition("/")[2]
    if name.startswith("."):
        return "hidden"
    if is_folder:
        return "a folder of a tool" if name.lower() in TOOLS_FOLDERS else ""
    return "" if os.path.splitext(name)[1].lower() in SUFFIXES else "not an image, by its suffix"
