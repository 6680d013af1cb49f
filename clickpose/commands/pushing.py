"""Poses for a project: each image with its name below its root, and its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from clickpose.errors import LabelStudioError, StoreError
from clickpose.evaluation import convert_poses
from clickpose.expected_clicks import share_right
from clickpose.skeleton import Skeleton
from integrations.coco import person_categories, read_coco
from integrations.coco_results import read_results
from integrations.label_studio.addresses import address_below, find_document_root, local_address
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.pushing import PredictedImage
from pipeline.image_files import full_name
from pipeline.shards import read_prelabels, refuse_old, shard_names
from pipeline.store import Store

PredictedImages = Callable[[LabelStudio, int, str | None], Iterator[PredictedImage]]


def predicted_images(prelabels: str) -> PredictedImages:
    """Return a function that yields the images of a folder or URI of pre-labels, given client, project and address.

    Raises:
        StoreError: there are no pre-labels.
    """
    store = Store(prelabels)
    refuse_old(store)
    if not shard_names(store):
        raise StoreError(f"there are no pre-labels in {store.uri}: is it the folder that clickpose prelabel wrote?")

    def images(client: LabelStudio, project: int, serve_from: str | None) -> Iterator[PredictedImage]:
        addresses = Addresses(client, project, serve_from)
        for found in read_prelabels(prelabels):
            name, address = found.image.name, addresses.of(found.uri, found.image.name)
            score = share_right(found.poses, found.expected_clicks)
            yield PredictedImage(name, address, found.size_wh, found.poses, found.model_version, score)

    return images


@dataclass(frozen=True)
class ForeignResults:
    """Poses that any model found, as its tools write them.

    Attributes:
        results: COCO results file.
        data: the COCO file that it is about: its images, their sizes, and the names of the keypoints.
        images: folder or URI that the file names of ``data`` are relative to.
        min_score: poses scored lower are left out.
    """

    results: Path
    data: Path
    images: str
    min_score: float

    def predicted(self, skeleton: Skeleton) -> PredictedImages:
        """Return what yields the images of ``data`` with poses in another skeleton.

        Raises:
            InvalidAnnotation: a file is malformed, or shares no keypoint with the skeleton.
        """
        data = read_coco(self.data)
        found = read_results(self.results, data, person_categories(self.data))
        poses = convert_poses(found, data.skeleton, skeleton)
        folder = full_name(self.images).rstrip("/")

        def images(client: LabelStudio, project: int, serve_from: str | None) -> Iterator[PredictedImage]:
            addresses = Addresses(client, project, serve_from)
            for image in data.images:
                address = addresses.of(f"{folder}/{image.file_name}", image.file_name)
                shown = [pose for pose in poses.get(image.id, ()) if pose.score >= self.min_score]
                yield PredictedImage(image.file_name, address, image.size_wh, shown, self.results.stem)

        return images


class Addresses:
    """Addresses of images in Label Studio: below a given address, else in the project's own folders."""

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
            shown = ", ".join(self.folders) or "no folder"
            raise LabelStudioError(
                f"the project shows {shown}, and {path} is not in it: add its folder with clickpose label-studio init"
                " --images, or give the address of the images with --serve-from"
            )
        self.document_root = self.document_root or find_document_root(self.client, folder, path)
        return local_address(path, self.document_root)
