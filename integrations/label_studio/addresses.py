"""Images in Label Studio: the address that a task shows, and the name of an image below its root.

/data/local-files/?d=photos/cam1/7.jpg   a file on the server's disk, below its document root
/data/upload/3/9f-7.jpg                  a file that was uploaded to the server
s3://..., https://...                    elsewhere
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from clickpose.errors import LabelStudioError
from integrations.label_studio.client import LabelStudio

LOCAL_FILES = "/data/local-files/?d="
UPLOADS = "data/upload/"
IN_UPLOADS = re.compile(rf"(?:^|/)({UPLOADS}.+)")  # behind the path that Label Studio has in an address


def address_below(root: str, name: str) -> str:
    """Return the address of an image: its name below a root address."""
    return f"{root}{'' if root.endswith(('/', '=')) else '/'}{quote(name)}"


def name_in_url(image_url: str, folders: Sequence[str] = ()) -> str:
    """Return the file that the address of an image refers to.

    Args:
        image_url: the ``d`` of a local-files address counts, else the path.
        folders: whose files the project shows; names of local files are relative to them.
    """
    parts = urlsplit(image_url)
    local = parse_qs(parts.query).get("d")
    if local:
        return _below(local[0], folders)
    path = unquote(parts.path).lstrip("/")
    upload = IN_UPLOADS.search(path)
    return upload[1] if upload else path


def image_name(data: Mapping[str, Any], image_key: str, folders: Sequence[str] = ()) -> str | None:
    """Return the name of a task's image: the one given at import, else the one in its address; None without either."""
    if data.get("file_name"):
        return str(data["file_name"])
    return name_in_url(str(data[image_key]), folders) if data.get(image_key) else None


def image_names(client: LabelStudio, project: int) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a function that gives the name of a task's image, as ``image_name`` does; the project is asked once."""
    key, folders = client.image_key(project), client.local_folders(project)
    return lambda task: image_name(task.get("data") or {}, key, folders)


def find_document_root(client: LabelStudio, folder: str, image: str) -> str:
    """Find Label Studio's document root by trying to load an image.

    Args:
        client: of the server.
        folder: that a project shows, on the server's disk.
        image: absolute path of an image in it.

    Raises:
        LabelStudioError: the image cannot be loaded as an annotator would load it.
    """
    refusal = ""
    for root in PurePosixPath(folder).parents:
        try:
            client.fetch(local_address(image, str(root)))
            return str(root)
        except LabelStudioError as error:
            refusal = refusal or str(error)
    raise LabelStudioError(
        f"{image} cannot be loaded through Label Studio: is {PurePosixPath(folder).parent} or a folder above it"
        f" its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, on its own machine? {refusal}"
    )


def local_address(image: str, document_root: str) -> str:
    """Return the address of an image on the server's disk."""
    return LOCAL_FILES + quote(str(PurePosixPath(image).relative_to(document_root)))


def _below(path: str, folders: Sequence[str]) -> str:
    """Return a path below the document root as one below the folder that holds it.

    The document root is not known here: the end of the folder's path is the beginning of the name.
    """
    parts = PurePosixPath(path).parts
    for folder in folders:
        ends = PurePosixPath(folder).parts
        for count in range(min(len(parts), len(ends)), 0, -1):
            if parts[:count] == ends[-count:]:
                return "/".join(parts[count:])
    return path
