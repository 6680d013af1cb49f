"""The order in which annotators get tasks: Label Studio serves the task with the lowest prediction score first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from integrations.label_studio.addresses import image_names
from integrations.label_studio.client import LabelStudio


@dataclass(frozen=True)
class Ordered:
    """The number of tasks that were ordered, and the names without an open task with a prediction."""

    tasks: int
    missing: tuple[str, ...]


def annotated_names(client: LabelStudio, project: int) -> frozenset[str]:
    """Return the names of annotated images."""
    name_of = image_names(client, project)
    annotated = (name_of(task) for task in client.tasks(project) if task.get("annotations"))
    return frozenset(name for name in annotated if name)


def set_order(client: LabelStudio, project: int, names: Sequence[str]) -> Ordered:
    """Serve the tasks of some images first, in this order, and then all others by their prediction scores.

    Scores of predictions lie between 0 and 1. Those of chosen tasks become negative, the first the lowest; those that
    an earlier order made negative come last of all.
    """
    client.use_uncertainty_sampling(project)
    rank = {name: place for place, name in enumerate(names)}
    found, name_of = set[str](), image_names(client, project)
    for task in client.tasks(project):
        name = name_of(task) or ""
        predictions = task.get("predictions") or []
        if name in rank and predictions and not task.get("annotations"):
            found.add(name)
        for prediction in predictions:
            score = rank[name] / len(names) - 1 if name in rank else None
            if score is None and (prediction.get("score") or 0) < 0:
                score = 1.0
            if score is not None:
                client.score_prediction(int(prediction["id"]), score)
    return Ordered(len(found), tuple(name for name in names if name not in found))
