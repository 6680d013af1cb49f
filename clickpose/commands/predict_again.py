"""New predictions for tasks without an annotation: the last step of a round that promoted a model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clickpose.commands.collecting import Project, connect, find_project

if TYPE_CHECKING:
    from integrations.label_studio.client import LabelStudio
    from pipeline.store import Store

logger = logging.getLogger(__name__)


def predict_again(project: Project, store: Store, version: str, *, num_workers: int = 0) -> int:
    """Predict the tasks without an annotation with a version of the store, and show these predictions.

    Tasks that already have predictions of that version are skipped, so that an interrupted call can be repeated. Images
    that are not in the project's folder keep their predictions.

    Returns:
        The number of tasks that got a prediction.

    Raises:
        LabelStudioError: there is no such project, or Label Studio does not answer.
    """
    from clickpose.checkpoints.files import skeleton_of
    from integrations.label_studio.tasks import make_prediction
    from pipeline.prelabel import PrelabelOptions, prelabel, read_prelabels
    from pipeline.registry import Registry

    model = Registry(store).fetch(version)
    skeleton, out = skeleton_of(model), store.uri_of(f"prelabels/{version}-anew")
    with connect(project.url) as client:
        number = find_project(client, project.title)
        waiting = waiting_tasks(client, number, project.images, version)
        if not waiting:
            return 0
        prelabel(list(waiting), out, model, PrelabelOptions(num_workers=num_workers))
        rows = [
            {**make_prediction(found.poses, skeleton, found.size_wh, model_version=version), "task": task}
            for found in read_prelabels(out)
            for task in waiting.get(found.uri, ())
        ]
        client.add_predictions(number, rows)
        client.show_predictions_of(number, version)
    total = sum(map(len, waiting.values()))
    logger.info("%d of %d tasks without an annotation have predictions of %s", len(rows), total, version)
    return len(rows)


def waiting_tasks(client: LabelStudio, project: int, images: str, version: str) -> dict[str, list[int]]:
    """Return the tasks without annotation and without predictions of a version, by the path or URI of their image."""
    from clickpose.annotations import AnnotatedImage
    from integrations.label_studio.addresses import image_names
    from pipeline.dataset import ImageFolder
    from pipeline.image_files import full_name, image_exists

    folder, elsewhere, name_of = ImageFolder(images), 0, image_names(client, project)
    waiting: dict[str, list[int]] = {}
    for task in client.tasks(project):
        versions = {prediction.get("model_version") for prediction in task.get("predictions") or ()}
        if task.get("annotations") or version in versions:
            continue
        name = name_of(task)
        uri = full_name(folder.name_of(AnnotatedImage(0, name, (1, 1)))) if name else ""
        if uri and image_exists(uri):
            waiting.setdefault(uri, []).append(int(task["id"]))
        else:
            elsewhere += 1
    if elsewhere:
        logger.warning("%d tasks keep their predictions: their images are not in %s", elsewhere, images)
    return waiting
