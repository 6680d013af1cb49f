"""Label Studio in several commands: connect to it, find a project, collect its annotations and their images."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clickpose.errors import ClickPoseError, LabelStudioError, StoreError, Unauthorized
from integrations.label_studio.policy import Policy

if TYPE_CHECKING:
    from clickpose.skeleton import Skeleton
    from integrations.label_studio.client import LabelStudio
    from integrations.label_studio.tasks import Export, TaskAnnotation
    from pipeline.round_plan import Collected
    from pipeline.store import Store

TOKEN = "LABEL_STUDIO_TOKEN"

logger = logging.getLogger(__name__)


def connect(url: str) -> LabelStudio:
    """Return a client of Label Studio; Unauthorized if no token is set."""
    token = os.environ.get(TOKEN)
    if not token:
        raise Unauthorized(f"set {TOKEN} to a token of Label Studio, legacy or personal")
    from integrations.label_studio.client import LabelStudio

    return LabelStudio(url, token)


def find_project(client: LabelStudio, title: str) -> int:
    """Return the id of a project; LabelStudioError if there is none of that title."""
    project = client.find_project(title)
    if project is None:
        raise LabelStudioError(f"there is no project {title!r}: create it with clickpose label-studio init")
    return int(project["id"])


def collect(
    url: str,
    title: str,
    model: Path,
    *,
    images: str | None = None,
    fetch_into: Store | None = None,
    policy: Policy = Policy.latest,
) -> Collected:
    """Return every annotation of a project, in a model's skeleton; log what could not be read, by task.

    Args:
        url: of Label Studio.
        title: of the project.
        model: folder.
        images: folder or URI of the images, except those that were uploaded; None if Label Studio has them all.
        fetch_into: store that receives the images that Label Studio has; None to leave them there.
        policy: which of several annotations of one task is used; see ``Policy``.

    Raises:
        LabelStudioError: there is no such project, or Label Studio does not answer.
    """
    from clickpose.checkpoints.model_folder import load_model
    from integrations.label_studio.tasks import to_annotation_set
    from pipeline.round_plan import Collected

    skeleton = load_model(model).skeleton
    with connect(url) as client:
        export = _read_project(client, find_project(client, title), skeleton, policy)
        found, left_out = list(export.annotations), list(export.left_out)
        if fetch_into is not None:
            missing = _fetch_images(client, found, fetch_into, images)
            left_out += [f"task {one.image.id}: {missing[one.address]}" for one in found if one.address in missing]
            found = [one for one in found if one.address not in missing]
    for sentence in left_out:
        logger.warning("left out: %s", sentence)
    records = [record for annotation in found for record in annotation.records]
    return Collected(to_annotation_set(found, skeleton), records, left_out)


def _read_project(client: LabelStudio, project: int, skeleton: Skeleton, policy: Policy) -> Export:
    from clickpose.images import decode_image
    from integrations.label_studio.policy import candidates
    from integrations.label_studio.tasks import Export, once_per_image, read_export
    from pipeline.agreement import agree

    def size_of(address: str) -> tuple[int, int]:
        return decode_image(client.fetch(address), address).size

    tasks = list(client.tasks(project, changed_since=datetime.fromtimestamp(0, UTC)))
    if drafts := sum(bool(task.get("drafts")) and not task.get("annotations") for task in tasks):
        logger.info("%d tasks have only a draft, which counts when it is submitted", drafts)
    is_named = all((task.get("data") or {}).get("file_name") for task in tasks)
    folders = () if is_named else client.local_folders(project)
    export = read_export(candidates(tasks, policy), skeleton, folders=folders, size_of=size_of)
    if policy is Policy.agreement:
        chosen, disagreements = agree(export.annotations, skeleton)
        export = Export(tuple(chosen), (*export.left_out, *disagreements))
    return once_per_image(export)


def _fetch_images(
    client: LabelStudio, found: list[TaskAnnotation], store: Store, images: str | None
) -> dict[str, ClickPoseError]:
    """Copy images from Label Studio into a store; return the errors of those that failed, by address."""
    from integrations.label_studio.addresses import UPLOADS
    from pipeline.dataset import FETCHED

    missing: dict[str, ClickPoseError] = {}
    for one in found:
        name = f"{FETCHED}/{one.image.file_name}"
        if images is not None and not one.image.file_name.startswith(UPLOADS):
            continue
        try:
            if not store.exists(name):
                store.write_bytes(name, client.fetch(one.address))
        except (LabelStudioError, StoreError) as error:
            missing[one.address] = error
    return missing
