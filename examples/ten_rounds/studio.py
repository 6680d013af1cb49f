"""Annotations that go through a real Label Studio, whose webhooks reach nobody."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clickpose.annotations import AnnotatedImage, PersonAnnotation, Pose
from clickpose.commands.collecting import TOKEN, Project, collect
from clickpose.skeleton import Skeleton
from examples.rounds import LEAD_TIME_S
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.server import LabelStudioServer
from integrations.label_studio.tasks import make_task
from pipeline.store import Store

DEAD_ADDRESS = "http://127.0.0.1:9/webhook"


def through_label_studio(
    folder: Path, title: str, batch: Sequence[AnnotatedImage], skeleton: Skeleton, model: Path
) -> list[AnnotatedImage]:
    """Submit annotations to a Label Studio in a folder, and return what is collected from it in a model's skeleton."""
    with LabelStudioServer(folder / "studio") as server, LabelStudio(server.url, server.token) as client:
        if old := client.find_project(title):  # of a play that was interrupted
            client.delete_project(old["id"])
        project = client.create_project(title, labelling_interface(skeleton))["id"]
        client.add_webhook(project, DEAD_ADDRESS, secret="nobody")
        submit(client, project, batch, skeleton)
        os.environ[TOKEN] = server.token
        found = collect(Project(server.url, title), model, Store(folder / "collected"))
    by_name = {image.file_name: image for image in found.annotations.images}
    return [with_persons_of(image, by_name[image.file_name]) for image in batch if image.file_name in by_name]


def submit(client: LabelStudio, project: int, batch: Sequence[AnnotatedImage], skeleton: Skeleton) -> None:
    """Import a task for each image, and submit its annotation."""
    tasks = [make_task(f"/{image.file_name}", image.size_wh, file_name=image.file_name) for image in batch]
    for task, image in zip(client.import_tasks(project, tasks), batch, strict=True):
        result = poses_to_result(list(map(pose_of, image.persons)), skeleton, image.size_wh, model_version="")
        client.submit_annotation(task, result, lead_time_s=LEAD_TIME_S)


def pose_of(person: PersonAnnotation) -> Pose:
    """Return a person as a pose that a human placed."""
    held = person.visibility > 0
    return Pose(person.keypoints_px, person.visibility, held.astype(np.float32), person.box_px, 1.0, held)


def with_persons_of(ours: AnnotatedImage, collected: AnnotatedImage) -> AnnotatedImage:
    """Return an image with the persons that were collected, under our own ids."""
    pairs = zip(ours.persons, collected.persons, strict=True)
    return replace(ours, persons=tuple(replace(theirs, id=own.id, area_px=own.area_px) for own, theirs in pairs))
