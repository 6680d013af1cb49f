"""Read images that callers name, but only from the places that the operator has configured.

photos/7.jpg, /srv/photos/7.jpg      a file below one of the configured folders; file:///srv/photos/7.jpg is the same
s3://bucket/photos/7.jpg             an object below one of the configured buckets, or folders in a bucket
/data/local-files/?d=photos/7.jpg    Label Studio's local files: read from its document root if that is on this machine
/data/upload/3/9f-7.jpg              any other file of the configured Label Studio, fetched with its token
http://labels.example.com/data/...   the same, if that is the configured Label Studio; no other host is contacted
upload:5f1c...                       an image that was uploaded to this service
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

import httpx
from PIL import Image

from clickpose.errors import ImageError
from clickpose.images import MAX_BYTES, MAX_PIXELS, decode_image
from serve.images.buckets import BucketFiles, local_path
from serve.images.label_studio import LabelStudioFiles
from serve.images.uploads import Uploads, is_upload

LOCAL_FILES = "/data/local-files/"
MAX_NAME_CHARS = 4096


@dataclass(frozen=True)
class ImageLimits:
    """Limits per image: file size, pixels, and seconds to fetch it."""

    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    timeout_s: float = 20.0


class ImageSource:
    """Reads images by URL or path.

    Args:
        folders: folders on this machine that images may be read from, including their subfolders.
        buckets: buckets, or folders in buckets, that images may be read from.
        label_studio: Label Studio server that images may be fetched from.
        local_files_root: Label Studio's document root for local files, if it is on this machine.
        uploads: uploaded images.
        limits: images beyond these limits are rejected.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        *,
        buckets: Sequence[BucketFiles] = (),
        label_studio: LabelStudioFiles | None = None,
        local_files_root: Path | None = None,
        uploads: Uploads | None = None,
        limits: ImageLimits | None = None,
    ) -> None:
        self.folders = [folder.resolve() for folder in folders]
        self.buckets = list(buckets)
        self.label_studio = label_studio
        self.local_files_root = local_files_root.resolve() if local_files_root else None
        self.uploads = Uploads(0) if uploads is None else uploads  # an empty Uploads is falsy
        self.limits = limits or ImageLimits()

    def read(self, name: str) -> Image.Image:
        """Return an upright RGB image.

        Raises:
            ImageError: the image is missing, broken, beyond a limit, or not in a configured place.
        """
        if not name or len(name) > MAX_NAME_CHARS or "\0" in name:
            raise ImageError(f"{name[:100]!r} is not a valid image name")
        try:
            data = self._read_bytes(name)
        except (ValueError, httpx.InvalidURL) as error:
            raise ImageError(f"{name} is not a valid image address: {error}") from error
        return decode_image(data, name, max_bytes=self.limits.max_bytes, max_pixels=self.limits.max_pixels)

    def _read_bytes(self, name: str) -> bytes:
        if is_upload(name):
            return self.uploads.read(name)
        parts, here, limits = urlsplit(name), local_path(name), self.limits
        if here and (path := self._find(here, self.folders)):
            return self._read_file(path, name)
        if bucket := next((bucket for bucket in self.buckets if bucket.has(name)), None):
            return bucket.fetch(name, max_bytes=limits.max_bytes, timeout_s=limits.timeout_s)
        if parts.path.endswith(LOCAL_FILES) and self.local_files_root and self._is_label_studio(name):
            inside = parse_qs(parts.query).get("d", [""])[0]
            if path := self._find(inside.lstrip("/"), [self.local_files_root]):
                return self._read_file(path, name)
            raise ImageError(f"{name} is not in Label Studio's document root {self.local_files_root}")
        if self.label_studio and self._is_label_studio(name):
            return self.label_studio.fetch(name, max_bytes=limits.max_bytes, timeout_s=limits.timeout_s)
        led_out = "; a link leads out of them: name the folder it leads to, too" if self._is_link(here) else ""
        raise ImageError(f"{name} is not in any place that images may be read from: {self._places()}{led_out}")

    def _find(self, name: str, folders: Sequence[Path]) -> Path | None:
        """Return the file for a path, absolute or relative to one of the folders; None if no folder contains it."""
        if ".." in PurePosixPath(name).parts:
            return None
        found = (self._resolve(folder, name) for folder in folders)
        return next((path for path in found if path is not None), None)

    def _resolve(self, folder: Path, name: str) -> Path | None:
        """Return a file with all links resolved, or None if it is not below the folder, or another one."""
        try:
            path = (folder / name).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: links that form a loop
            return None
        is_inside = any(path.is_relative_to(root) for root in (folder, *self.folders))
        return path if is_inside and path.is_file() else None

    def _is_link(self, name: str | None) -> bool:
        """Tell whether a name, as it is written, leads over a link below one of the folders."""
        if not name or ".." in PurePosixPath(name).parts:
            return False
        paths = [folder / name for folder in self.folders if (folder / name).is_relative_to(folder)]
        return any(step.is_symlink() for path in paths for step in (path, *path.parents))

    def _read_file(self, path: Path, name: str) -> bytes:
        """Read at most one byte more than allowed; the decoder rejects files that are too long."""
        try:
            with path.open("rb") as file:
                return file.read(self.limits.max_bytes + 1)
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror}") from error

    def _is_label_studio(self, name: str) -> bool:
        """Return whether a name refers to a file of the configured Label Studio."""
        if self.label_studio is not None:
            return self.label_studio.has(name)
        return name.startswith(LOCAL_FILES)

    def _places(self) -> str:
        places = [*map(str, self.folders), *(bucket.root for bucket in self.buckets)]
        places += [self.label_studio.url] if self.label_studio else []
        return ", ".join(places) or "no place is configured"
