"""Set up a project for a skeleton: interface, images and service; errors say which setting is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree import ElementTree

from clickpose.errors import LabelStudioError
from clickpose.skeleton import Skeleton
from integrations.label_studio.addresses import find_document_root
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.connection import Record
from integrations.label_studio.interface import labelling_interface

USER = "clickpose"


@dataclass(frozen=True)
class Service:
    """The pose service as Label Studio reaches it: its URL, its secret, and the secret of its webhook."""

    url: str
    secret: str
    webhook_secret: str


@dataclass(frozen=True)
class LocalImages:
    """A folder on Label Studio's disk, and the absolute path of an image in it for a test."""

    folder: str
    sample: str


def set_up_project(
    client: LabelStudio,
    title: str,
    skeleton: Skeleton,
    *,
    images: LocalImages | None = None,
    service: Service | None = None,
) -> int:
    """Create a project, or complete an existing one, and return its id.

    Args:
        client: of the server.
        title: of the project.
        skeleton: whose keypoints are annotated.
        images: that the project shows; one is loaded as an annotator would load it.
        service: that answers its clicks.

    Raises:
        LabelStudioError: a step failed; the message says what to set. A project created here is deleted again.
    """
    with _project(client, title, skeleton) as project:
        if images is not None:
            _show_images(client, project, images)
        if service is not None:
            _connect_service(client, project, service)
    return project


@contextmanager
def _project(client: LabelStudio, title: str, skeleton: Skeleton) -> Iterator[int]:
    """Find or create the project; one created here is deleted if the block fails."""
    known = client.find_project(title)
    if known is not None:
        _check_interface(known, skeleton)
        yield int(known["id"])
        return
    project = int(client.create_project(title, labelling_interface(skeleton))["id"])
    try:
        yield project
    except BaseException:
        client.delete_project(project)
        raise


def _check_interface(project: Record, skeleton: Skeleton) -> None:
    interface = project.get("label_config")
    if not interface:
        return
    labels = {label.get("value") for label in ElementTree.fromstring(interface).findall(".//KeyPointLabels/Label")}
    if missing := [name for name in skeleton.keypoints if name not in labels]:
        raise LabelStudioError(
            f"project {project['id']} {project['title']!r} exists, and its interface has no {', '.join(missing)} of"
            f" skeleton {skeleton.name!r}: choose another title"
        )


def _show_images(client: LabelStudio, project: int, images: LocalImages) -> None:
    folder = PurePosixPath(images.folder)
    if not any(folder.is_relative_to(known) for known in client.local_folders(project)):
        try:
            client.add_local_files(project, str(folder))
        except LabelStudioError as error:
            raise LabelStudioError(
                f"Label Studio does not serve {folder}: start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true"
                f" and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={folder.parent}; {error}"
            ) from error
    find_document_root(client, str(folder), images.sample)


def _connect_service(client: LabelStudio, project: int, service: Service) -> None:
    url = service.url.rstrip("/")
    try:
        client.connect_backend(project, url, title="Click-Pose", user=USER, password=service.secret)
    except LabelStudioError as error:
        raise LabelStudioError(
            f"Label Studio did not connect to {url}: is the service running, with this CLICKPOSE_SECRET? For an address"
            " on this machine or in a private network, start Label Studio with LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false"
            f" and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false; {error}"
        ) from error
    client.add_webhook(project, f"{url}/webhook", secret=service.webhook_secret)
