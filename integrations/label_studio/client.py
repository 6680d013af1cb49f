"""Label Studio's own API, as far as this product uses it, over httpx.

project      images with one labelling interface; which prediction is shown and what comes next are its settings
storage      lets a project show files that lie on the server's disk
backend      an ML backend: a service that speaks the protocol of ``routes``
watermark    a time up to which all changes have been seen
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

from clickpose.errors import LabelStudioError
from integrations.label_studio.auth import WEBHOOK_SECRET_HEADER
from integrations.label_studio.connection import Connection, Record
from integrations.label_studio.interface import image_key_of

IMPORT_SIZE = 500  # tasks of one request; with many predictions 1,000 take 5 s
ANNOTATION_EVENTS = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")

Sampling = Literal["Sequential sampling", "Uniform sampling", "Uncertainty sampling"]


class LabelStudio:
    """Client of one Label Studio server; a context manager, too.

    Args:
        url: of the server.
        token: a legacy token (40 hexadecimal digits) or a personal access token.
        transport: for tests.
    """

    def __init__(self, url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._connection = Connection(self.url, token, transport=transport)

    def __enter__(self) -> LabelStudio:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def create_project(self, title: str, interface: str, *, sampling: Sampling = "Uncertainty sampling") -> Record:
        """Create a project; its ``id`` is in the record.

        Args:
            title: three characters or more.
            interface: XML, as ``labelling_interface`` writes it.
            sampling: which task comes next; with uncertainty sampling the one with the lowest prediction score.
        """
        body = {"title": title, "label_config": interface, "sampling": sampling, "show_collab_predictions": True}
        return self._connection.post("/api/projects/", body)

    def find_project(self, title: str) -> Record | None:
        """Return the project of that title, or None.

        Raises:
            LabelStudioError: there are several.
        """
        found = [project for project in self._connection.pages("/api/projects/", {}) if project["title"] == title]
        if len(found) > 1:
            numbers = ", ".join(str(project["id"]) for project in found)
            raise LabelStudioError(f"{self.url} has several projects {title!r} ({numbers}): rename all but one")
        return found[0] if found else None

    def image_key(self, project: int) -> str:
        """Return the key of a task's data that the project shows as the image."""
        return image_key_of(str(self._connection.get(f"/api/projects/{project}/").get("label_config") or ""))

    def delete_project(self, project: int) -> None:
        """Delete a project with all its tasks."""
        self._connection.request("DELETE", f"/api/projects/{project}/")

    def show_predictions_of(self, project: int, model_version: str) -> None:
        """Show the predictions of a model version, and order tasks by them."""
        self._connection.request("PATCH", f"/api/projects/{project}", json={"model_version": model_version})

    def local_folders(self, project: int) -> list[str]:
        """Return the folders on the server's disk whose files a project shows."""
        storages = self._connection.request("GET", "/api/storages/localfiles/", params={"project": project})
        return [str(storage["path"]) for storage in storages]

    def add_local_files(self, project: int, folder: str, *, title: str = "pictures") -> Record:
        """Let a project show the files of a folder on the server's disk, below its document root."""
        body = {"project": project, "path": folder, "title": title, "use_blob_urls": True}
        return self._connection.post("/api/storages/localfiles/", body)

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks, with their predictions, and return their ids in the same order."""
        ids: list[int] = []
        for start in range(0, len(tasks), IMPORT_SIZE):
            chunk = [dict(task) for task in tasks[start : start + IMPORT_SIZE]]
            path = f"/api/projects/{project}/import?return_task_ids=true"
            ids += self._connection.post(path, chunk)["task_ids"]
        return ids

    def tasks(self, project: int, *, changed_since: datetime | None = None) -> Iterator[Record]:
        """Yield tasks with all annotations and predictions, those changed after a watermark or all of them.

        Deleted tasks are only absent: compare their number with ``counts``.
        """
        query: Record = {"project": project, "fields": "all"}
        if changed_since is not None:
            query["query"] = json.dumps({"filters": _changed_since(changed_since)})
        yield from self._connection.pages("/api/tasks/", query)

    def counts(self, project: int) -> tuple[int, int]:
        """Return the number of tasks of a project, and of their annotations without cancelled ones."""
        found = self._connection.get(f"/api/projects/{project}/")
        return int(found["task_number"]), int(found["total_annotations_number"])

    def now(self) -> datetime:
        """Return the server's time, by its clock; LabelStudioError if it does not tell."""
        return self._connection.server_time()

    def task(self, task: int) -> Record:
        """Return one task with annotations, drafts and predictions."""
        return self._connection.get(f"/api/tasks/{task}/")

    def fetch(self, address: str) -> bytes:
        """Return the file, usually an image, at an address of this server in a task's data."""
        return self._connection.fetch(address)

    def next_task(self, project: int) -> Record:
        """Return the task that an annotator would be given next."""
        return self._connection.get(f"/api/projects/{project}/next/")

    def delete_task(self, task: int) -> None:
        """Delete a task with its predictions and annotations."""
        self._connection.request("DELETE", f"/api/tasks/{task}/")

    def submit_annotation(
        self, task: int, result: Sequence[Mapping[str, Any]], *, prediction: int | None = None, lead_time_s: float = 0.0
    ) -> Record:
        """Submit an annotation of a task, as the editor does.

        Args:
            task: its id.
            result: regions.
            prediction: id of the prediction that it started from.
            lead_time_s: seconds spent on it.
        """
        body = {"result": list(result), "lead_time": lead_time_s, "parent_prediction": prediction}
        return self._connection.post(f"/api/tasks/{task}/annotations/", body)

    def add_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Add predictions, each with the id of its ``task``, and return how many were stored."""
        created = 0
        for start in range(0, len(predictions), IMPORT_SIZE):
            chunk = [dict(prediction) for prediction in predictions[start : start + IMPORT_SIZE]]
            created += int(self._connection.post(f"/api/projects/{project}/import/predictions", chunk)["created"])
        return created

    def replace_prediction(self, prediction: int, new: Mapping[str, Any]) -> None:
        """Replace a prediction by another one of the same ``task``, which it names; annotations stay as they are."""
        self._connection.request("PATCH", f"/api/predictions/{prediction}/", json=dict(new))

    def score_prediction(self, prediction: int, score: float) -> None:
        """Change the score of a prediction; with uncertainty sampling the task with the lowest comes first."""
        self._connection.request("PATCH", f"/api/predictions/{prediction}/", json={"score": score})

    def use_uncertainty_sampling(self, project: int) -> None:
        """Let a project serve the task with the lowest score first."""
        self._connection.request("PATCH", f"/api/projects/{project}", json={"sampling": "Uncertainty sampling"})

    def export(self, project: int) -> list[Record]:
        """Return every annotated task as JSON, the only export that keeps persons apart and their visibility."""
        query = {"exportType": "JSON"}
        path = f"/api/projects/{project}/export"
        return list(self._connection.request("GET", path, params=query))

    def connect_backend(self, project: int, url: str, *, title: str, user: str = "", password: str = "") -> Record:
        """Register an interactive ML backend, which Label Studio contacts at once; one with that URL is updated.

        The webhook that Label Studio creates with it is deleted: it has no secret, and reports every event.
        """
        known = self._connection.request("GET", "/api/ml/", params={"project": project})
        same = next((backend for backend in known if backend["url"] == url), None)
        body: Record = {"project": project, "url": url, "title": title, "is_interactive": True}
        if user:
            body |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        method, path = ("PATCH", f"/api/ml/{same['id']}") if same else ("POST", "/api/ml/")
        backend = dict(self._connection.request(method, path, json=body))
        for webhook in self.webhooks(project):
            if webhook["url"] == f"{url.rstrip('/')}/webhook" and not webhook.get("headers"):
                self._connection.request("DELETE", f"/api/webhooks/{webhook['id']}/")
        return backend

    def add_webhook(self, project: int, url: str, *, secret: str, actions: Sequence[str] = ANNOTATION_EVENTS) -> Record:
        """Send events to an address, with a secret in the header that ``routes`` checks; one to it is replaced."""
        for webhook in self.webhooks(project):
            if webhook["url"] == url:
                self._connection.request("DELETE", f"/api/webhooks/{webhook['id']}/")
        body = {
            "project": project,
            "url": url,
            "send_payload": True,
            "send_for_all_actions": False,
            "actions": list(actions),
            "headers": {WEBHOOK_SECRET_HEADER: secret},
        }
        return self._connection.post("/api/webhooks/", body)

    def webhooks(self, project: int) -> list[Record]:
        """Return the webhooks of a project."""
        return list(self._connection.request("GET", "/api/webhooks/", params={"project": project}))

    def ask_backend(self, backend: int, task: int, context: Mapping[str, Any]) -> list[Record]:
        """Ask a backend through Label Studio, as the editor does after a smart click, and return its regions.

        Raises:
            LabelStudioError: the backend failed, which Label Studio reports with status 200.
        """
        path = f"/api/ml/{backend}/interactive-annotating"
        answer = self._connection.post(path, {"task": task, "context": dict(context)})
        if "data" not in answer:
            raise LabelStudioError(f"backend {backend} failed on task {task}: {answer.get('errors')}")
        return list(answer["data"]["result"])


def _changed_since(watermark: datetime) -> Record:
    """Return the filter of Label Studio's data manager for tasks that changed after a time."""
    moment = watermark.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    condition = {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": moment}
    return {"conjunction": "and", "items": [condition]}
