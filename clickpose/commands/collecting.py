"""Label Studio in several commands: connect to it, find a project, collect its annotations and their images."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clickpose.errors import ClickPoseError, LabelStudioError, StoreError, Unauthorized
from integrations.label_studio.policy import Policy

if TYPE_CHECKING:
    from datetime import datetime

    from clickpose.skeleton import Skeleton
    from integrations.label_studio.client import LabelStudio
    from integrations.label_studio.export import Export, TaskAnnotation
    from integrations.label_studio.read_tasks import ReadTask
    from pipeline.round_plan import Collected
    from pipeline.store import Store

TOKEN = "LABEL_STUDIO_TOKEN"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Project:
    """A project of Label Studio by its title, and the folder or URI of its images; empty if Label Studio has them."""

    url: str
    title: str
    images: str = ""


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
    project: Project, model: Path, store: Store, *, fetch: bool = False, policy: Policy = Policy.latest
) -> Collected:
    """Return every annotation of a project, in a model's skeleton; log what could not be read, by task.

    Args:
        project: its images are read from there, except those that were uploaded.
        model: folder.
        store: remembers what was read, so that the next call reads only what has changed; the caller holds its lease.
        fetch: copy images that only Label Studio has into the store.
        policy: which of several annotations of one task is used; see ``Policy``.

    Raises:
        LabelStudioError: there is no such project, or Label Studio does not answer.
    """
    from clickpose.checkpoints.files import skeleton_of
    from integrations.label_studio.export import to_annotation_set
    from pipeline.round_plan import Collected

    skeleton = skeleton_of(model)
    with connect(project.url) as client:
        export = read_project(ProjectReader(client, find_project(client, project.title), skeleton, policy), store)
        found, left_out = list(export.annotations), list(export.left_out)
        if fetch:
            missing = _fetch_images(client, found, store, project.images)
            left_out += [f"task {one.image.id}: {missing[one.address]}" for one in found if one.address in missing]
            found = [one for one in found if one.address not in missing]
    for sentence in left_out:
        logger.warning("left out: %s", sentence)
    records = [record for annotation in found for record in annotation.records]
    return Collected(to_annotation_set(found, skeleton), records, left_out)


@dataclass(frozen=True)
class ProjectReader:
    """Reads the tasks of one project of Label Studio."""

    client: LabelStudio
    number: int
    skeleton: Skeleton
    policy: Policy

    def now(self) -> datetime:
        """Return the server's time."""
        return self.client.now()

    def counts(self) -> tuple[int, int]:
        """Return the number of tasks and of their annotations."""
        return self.client.counts(self.number)

    def tasks(self, changed_since: datetime | None) -> Iterator[Mapping[str, Any]]:
        """Yield the tasks that changed after a time, or all."""
        return self.client.tasks(self.number, changed_since=changed_since)

    @cached_property
    def image_key(self) -> str:
        """The key of a task's data that the project shows as the image."""
        return self.client.image_key(self.number)

    @cached_property
    def folders(self) -> list[str]:
        """The folders whose files the project shows."""
        return self.client.local_folders(self.number)

    def read(self, task: Mapping[str, Any]) -> ReadTask:
        """Read the annotations that may be used, and what is left out."""
        from integrations.label_studio.export import Export, read_export
        from integrations.label_studio.policy import candidates
        from integrations.label_studio.read_tasks import ReadTask, has_only_draft, num_submitted
        from pipeline.agreement import agree

        data, is_empty = task.get("data") or {}, not task.get("annotations")
        export = read_export(
            candidates([task], self.policy),
            self.skeleton,
            image_key="image" if data.get("image") or is_empty else self.image_key,
            folders=() if data.get("file_name") or is_empty else self.folders,
            size_of=self._size_of,
        )
        if self.policy is Policy.agreement:
            chosen, disagreements = agree(export.annotations, self.skeleton)
            export = Export(tuple(chosen), (*export.left_out, *disagreements))
        return ReadTask(str(task["updated_at"]), num_submitted(task), export, has_only_draft(task))

    def _size_of(self, address: str) -> tuple[int, int]:
        from clickpose.images import decode_image

        return decode_image(self.client.fetch(address), address).size


def read_project(project: ProjectReader, store: Store) -> Export:
    """Return all annotations of a project; only tasks that changed since the last call with this store are read."""
    from integrations.label_studio.export import once_per_image
    from integrations.label_studio.read_tasks import FORMAT, joined
    from pipeline.task_log import collect_tasks

    name = f"{hashlib.sha256(project.client.url.encode()).hexdigest()[:8]}-{project.number}"
    reading = f"format {FORMAT}, policy {project.policy}, skeleton {json.dumps(project.skeleton.to_dict())}"
    tasks = collect_tasks(store, name, project, reading, project.read)
    if drafts := sum(task.has_only_draft for task in tasks.values()):
        logger.info("%d tasks had only a draft when they were read; drafts count when they are submitted", drafts)
    return once_per_image(joined(tasks[number] for number in sorted(tasks)))


def _fetch_images(
    client: LabelStudio, found: list[TaskAnnotation], store: Store, images: str
) -> dict[str, ClickPoseError]:
    """Copy images from Label Studio into a store; return the errors of those that failed, by address."""
    from integrations.label_studio.addresses import UPLOADS
    from pipeline.dataset import FETCHED

    missing: dict[str, ClickPoseError] = {}
    fetched = set(store.files(FETCHED))
    for one in found:
        name = one.image.file_name
        if name in fetched or (images and not name.startswith(UPLOADS)):
            continue
        try:
            store.write_bytes(f"{FETCHED}/{name}", client.fetch(one.address))
        except (LabelStudioError, StoreError) as error:
            missing[one.address] = error
    return missing
