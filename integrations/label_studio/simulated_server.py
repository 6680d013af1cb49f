"""Label Studio's server in memory, as far as collecting annotations needs one, for tests and benchmarks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import numpy as np

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.regions import poses_to_result

START = datetime(2026, 11, 20, tzinfo=UTC)


class SimulatedServer:
    """Answers the requests of the client through ``httpx.MockTransport``, and counts the tasks it ``served``.

    Args:
        results: the regions of each task's annotation; None leaves a task without one.
        size_wh: of every image.
    """

    def __init__(self, results: list[list[dict[str, Any]] | None], size_wh: tuple[int, int]) -> None:
        self.time, self.served, self.num_annotations = START, 0, 0
        self.tasks = {number: self._task(number, size_wh) for number in range(1, len(results) + 1)}
        for number, result in enumerate(results, 1):
            if result is not None:
                self.annotate(number, result)
        self.pass_time(60)

    def _task(self, number: int, size_wh: tuple[int, int]) -> dict[str, Any]:
        name = f"{number:06d}.jpg"
        data = {"image": f"/data/{name}", "file_name": name, "width": size_wh[0], "height": size_wh[1]}
        return {"id": number, "data": data, "annotations": [], "predictions": [], "updated_at": self.stamp()}

    def stamp(self) -> str:
        """Return the time as tasks and annotations have it."""
        return self.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def pass_time(self, minutes: float) -> None:
        """Let all later changes be so much later."""
        self.time += timedelta(minutes=minutes)

    def annotate(self, number: int, result: list[dict[str, Any]], **fields: Any) -> None:
        """Add an annotation to a task."""
        self.num_annotations += 1
        one = {"id": self.num_annotations, "result": result, "updated_at": self.stamp(), "lead_time": 3.5}
        self.tasks[number]["annotations"].append(one | {"completed_by": 1, "was_cancelled": False} | fields)
        self.tasks[number]["updated_at"] = self.stamp()

    def delete_annotations(self, number: int) -> None:
        """Delete them as bulk actions do, that leave no trace in the task."""
        self.tasks[number]["annotations"] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        headers = {"date": format_datetime(self.time, usegmt=True)}
        return httpx.Response(200, headers=headers, content=json.dumps(self._answer(request.url)))

    def _answer(self, url: httpx.URL) -> Any:
        if url.path == "/api/tasks/":
            return self._page(url.params)
        if url.path == "/api/projects/":
            return {"count": 1, "results": [{"id": 1, "title": "Poses"}]}
        if url.path == "/api/projects/1/":
            submitted = (not one["was_cancelled"] for task in self.tasks.values() for one in task["annotations"])
            return {"task_number": len(self.tasks), "total_annotations_number": sum(submitted)}
        return {}

    def _page(self, query: httpx.QueryParams) -> dict[str, Any]:
        tasks = list(self.tasks.values())
        if "query" in query:
            (condition,) = json.loads(query["query"])["filters"]["items"]
            tasks = [task for task in tasks if task["updated_at"] > condition["value"]]
        first, size = (int(query["page"]) - 1) * int(query["page_size"]), int(query["page_size"])
        page = tasks[first : first + size]
        self.served += len(page)
        return {"total": len(tasks), "tasks": page}


def random_result(
    seed: int, skeleton: Skeleton, size_wh: tuple[int, int], *, num_persons: int = 2
) -> list[dict[str, Any]]:
    """Return the regions of an annotation of persons whose keypoints lie anywhere, a fifth of them held."""
    rng, num_keypoints = np.random.default_rng(seed), len(skeleton)
    poses = [
        Pose(
            keypoints_px=(rng.uniform(0.15, 0.8, (num_keypoints, 2)) * size_wh).astype(np.float32),
            visibility=np.full(num_keypoints, 2),
            scores=np.ones(num_keypoints, np.float32),
            box_px=np.array([0.1, 0.1, 0.85, 0.85], np.float32) * np.array([*size_wh, *size_wh], np.float32),
            score=0.9,
            held=rng.random(num_keypoints) < 0.2,
        )
        for _ in range(num_persons)
    ]
    return poses_to_result(poses, skeleton, size_wh, model_version="v0001-tiny")
