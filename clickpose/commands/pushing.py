"""Pre-labels on their way into a project: each image by its name below its root, and the address that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from clickpose.errors import LabelStudioError, StoreError
from integrations.label_studio.addresses import address_below, find_document_root, local_address
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.pushing import PredictedPicture
from pipeline.roots import read_roots, relative_name
from pipeline.shards import read_parts, read_prelabels
from pipeline.store import Store

PredictedPictures = Callable[[LabelStudio, int, str | None], Iterator[PredictedPicture]]


def predicted_pictures(prelabels: str) -> PredictedPictures:
    """Return what yields the images of a folder or URI of pre-labels, given client, project and address.

    Raises:
        StoreError: there are no pre-labels.
    """
    store = Store(prelabels)
    uris = [uri for part in read_parts(store) for uri in part.uris]
    if not uris:
        raise StoreError(f"there are no pre-labels in {store.uri}: is it the folder that clickpose prelabel wrote?")
    roots = read_roots(store, uris)

    def pictures(client: LabelStudio, project: int, serve_from: str | None) -> Iterator[PredictedPicture]:
        addresses = Addresses(client, project, serve_from)
        for found in read_prelabels(prelabels):
            name = relative_name(found.uri, roots)
            address = addresses.of(found.uri, name)
            yield PredictedPicture(name, address, found.size_wh, found.poses, found.model_version)

    return pictures


class Addresses:
    """Where Label Studio shows images: below an address that was given, else from the project's own folders."""

    def __init__(self, client: LabelStudio, project: int, serve_from: str | None) -> None:
        self.client, self.serve_from = client, serve_from
        self.folders = [] if serve_from else client.local_folders(project)
        self.document_root = ""

    def of(self, uri: str, name: str) -> str:
        """Return the address of an image, by its full name and the one below its root.

        Raises:
            LabelStudioError: it is in none of the project's folders, or cannot be loaded from there.
        """
        if self.serve_from:
            return address_below(self.serve_from, name)
        path = unquote(urlsplit(uri).path) if uri.startswith("file://") else uri
        if "://" in path:
            return uri
        folder = next((one for one in self.folders if PurePosixPath(path).is_relative_to(one)), None)
        if folder is None:
            shown = ", ".join(self.folders) or "no folder at all"
            raise LabelStudioError(
                f"the project shows {shown}, and {path} is not in it: add its folder with clickpose label-studio init"
                " --pictures, or tell the address of the images with --serve-from"
            )
        self.document_root = self.document_root or find_document_root(self.client, folder, path)
        return local_address(path, self.document_root)
