"""An annotator as the service sees her: Label Studio's requests, with drafts that lag behind her screen.

She opens a task, corrects one keypoint after the other, and checks every answer: placed keypoints must be where she
placed them. She clicks (the request contains the points of the same name) or drags (a page script sends the screen).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import numpy as np
from pydantic_core import from_json, to_json

from clickpose.skeleton import Skeleton
from integrations.label_studio.regions import parse_id
from integrations.label_studio.simulated_editor import Region, SimulatedEditor
from serve.load.records import Log, Request
from serve.monitoring.timing import HEADER, read_header

DRAFT_EVERY_S = 5.0  # Label Studio's front end does not save more often
ATTEMPTS = 6
RETRY_AFTER_S = 1.0
JSON = {"Content-Type": "application/json"}
SAME_PX = 0.05  # larger than the rounding from pixels to percent and back
THINKING = (4, 1 / 4)  # shape and scale of a gamma distribution with mean 1
RECLICKS = 0.1  # share of clicks that correct a keypoint placed before
STEP = 0.1  # how far keypoints are moved, as a share of the person's size

Placed = dict[tuple[int, str], tuple[float, float]]


class LoadAnnotator:
    """Works on one image after the other.

    Args:
        number: of this annotator.
        client: sends the requests.
        skeleton: of the labelling interface.
        log: records every request.
        every_s: mean seconds between clicks; 0 clicks again as soon as the answer arrives.
        drags: she drags points with the page script instead of clicking.

    Attributes:
        stop: once it is set, she stops after her next click.
    """

    def __init__(
        self, number: int, client: httpx.AsyncClient, skeleton: Skeleton, log: Log, *, every_s: float, drags: bool
    ) -> None:
        self.number, self.client, self.skeleton, self.log = number, client, skeleton, log
        self.every_s, self.drags = every_s, drags
        self.rng = np.random.default_rng([1, number])
        self.stop = asyncio.Event()

    async def annotate(self, task: int, picture: str, size_wh: tuple[int, int], clicks: int) -> None:
        """Open a task and correct its poses, click by click."""
        desk = _Desk(task, picture, self.number)
        answer = await self._ask("open", desk, None)
        if answer is None:
            return
        desk.open(answer, size_wh, self.skeleton)
        for _ in range(clicks):
            if self.stop.is_set():
                return
            began = time.monotonic()
            await self._correct(desk)
            pause_s = self.every_s * float(self.rng.gamma(*THINKING))
            await asyncio.sleep(max(0.0, pause_s - (time.monotonic() - began)))

    async def _correct(self, desk: _Desk) -> None:
        """Place one keypoint, or draw a box if no person was found."""
        points = [r for r in desk.editor.regions if r["type"] == "keypointlabels"]
        if not points:
            return await self._add_person(desk)
        point, xy_px = self._choose(points, desk)
        label, before = point["value"]["keypointlabels"][0], list(desk.editor.regions)
        person, _ = parse_id(point["id"]) or (0, None)
        if self.drags:
            context = desk.editor.dragged(person, self.skeleton.index(label), xy_px)
        else:
            drawn = desk.editor.drawn_point(self.skeleton.index(label), xy_px)
            context = {"result": [*desk.editor.like(drawn), drawn], "focus": person}
        answer = await self._ask("drag" if self.drags else "click", desk, context)
        if answer is None:
            desk.editor.regions = before
            return
        desk.accept(answer)
        self._look(desk, label, xy_px)

    def _choose(self, points: list[Region], desk: _Desk) -> tuple[Region, tuple[float, float]]:
        """Return a point, mostly one that was not placed yet, and its new place."""
        untouched = [point for point in points if not point["meta"].get("held")]
        pool = points if not untouched or self.rng.random() < RECLICKS else untouched
        point = pool[self.rng.integers(len(pool))]
        size = np.array(desk.editor.size_wh)
        here_px = np.array([point["value"]["x"], point["value"]["y"]]) / 100 * size
        step_px = STEP * _longer_side_px(point["parentID"], desk)
        there_px = np.clip(here_px + self.rng.normal(0, step_px, 2), 1, size - 1)
        return point, (round(float(there_px[0]), 2), round(float(there_px[1]), 2))

    async def _add_person(self, desk: _Desk) -> None:
        width, height = desk.editor.size_wh
        drawn = desk.editor.drawn_box((0.3 * width, 0.1 * height, 0.7 * width, 0.9 * height))
        answer = await self._ask("box", desk, {"result": [*desk.editor.like(drawn), drawn]})
        if answer is not None:
            desk.accept(answer)

    def _look(self, desk: _Desk, label: str, xy_px: tuple[float, float]) -> None:
        """Record the keypoint placed now; check those placed before."""
        shown = {region["id"]: region for region in desk.editor.regions if region["type"] == "keypointlabels"}
        for region_id, region in shown.items():
            person, name = parse_id(region_id) or (-1, None)
            if name == label and _is_at(region, xy_px):
                desk.placed[person, label] = xy_px
        self.log.placed += 1
        if xy_px not in desk.placed.values():
            self.log.lost.append(f"{self.log.now():.1f} s: task {desk.task}: {label}, just placed")
        for (person, name), place in list(desk.placed.items()):
            now = shown.get(f"p{person}_{name}")
            if now is None or not _is_at(now, place) or not now["meta"]["held"]:
                self.log.lost.append(f"{self.log.now():.1f} s: task {desk.task}: p{person}_{name}")
                del desk.placed[person, name]

    async def _ask(self, kind: str, desk: _Desk, context: dict[str, Any] | None) -> dict[str, Any] | None:
        """Send what Label Studio sends; retry a little later if that fails."""
        body = to_json(desk.body(context))
        for attempt in range(ATTEMPTS):
            with self.log.request(kind, retry=attempt > 0) as request:
                answer = await self._send(body, request)
            found = _read(answer, request) if answer is not None else {}
            if request.outcome == "ok":
                self.log.seen.add((desk.picture, found["model_version"]))
                return found
            await asyncio.sleep(RETRY_AFTER_S)
        return None

    async def _send(self, body: bytes, request: Request) -> httpx.Response | None:
        """Return the answer, if there is one."""
        try:
            return await self.client.post("/predict", content=body, headers=JSON)
        except httpx.HTTPError as error:
            request.outcome = type(error).__name__
            return None


class _Desk:
    """A task on her screen, and the draft that Label Studio has saved."""

    def __init__(self, task: int, picture: str, user: int) -> None:
        self.task, self.picture, self.user = task, picture, user
        self.placed: Placed = {}
        self.predictions: list[dict[str, Any]] = []
        self.draft: dict[str, Any] | None = None
        self.saving = False

    def open(self, prediction: dict[str, Any], size_wh: tuple[int, int], skeleton: Skeleton) -> None:
        """Show a prediction."""
        self.predictions = [{"id": self.task, "updated_at": "2026-01-01T00:00:00Z", **prediction}]
        self.editor = SimulatedEditor(prediction["result"], size_wh, skeleton)

    def accept(self, answer: dict[str, Any]) -> None:
        """Apply an answer; a draft will be saved some seconds later."""
        self.editor.accept(answer["result"])
        if not self.saving:
            self.saving = True
            asyncio.get_running_loop().call_later(DRAFT_EVERY_S, self._save_draft)

    def body(self, context: dict[str, Any] | None) -> dict[str, Any]:
        """Return the request that Label Studio sends now."""
        task = {
            "id": self.task,
            "data": {"image": self.picture},
            "drafts": [self.draft] if self.draft else [],
            "annotations": [],
            "predictions": self.predictions,
        }
        return {"tasks": [task], "project": "1.1760000000", "params": {"context": context, "login": None}}

    def _save_draft(self) -> None:
        seconds = int(time.monotonic()) % 86400
        at = f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"
        user = f"annotator-{self.user}@example.com"
        self.draft = {"id": self.task, "user": user, "updated_at": at, "result": list(self.editor.regions)}
        self.saving = False


def _longer_side_px(box_id: str, desk: _Desk) -> float:
    """Return the longer side of a person's box."""
    box = next(region["value"] for region in desk.editor.regions if region["id"] == box_id)
    return float((np.array([box["width"], box["height"]]) / 100 * desk.editor.size_wh).max())


def _read(answer: httpx.Response, request: Request) -> dict[str, Any]:
    """Return what was answered, and note the outcome; an answer without a model version means that the edit failed."""
    if answer.status_code != 200:
        request.outcome = str(answer.status_code)
        return {}
    (found,) = from_json(answer.content)["results"]
    request.outcome = "ok" if found.get("model_version") else "swallowed"
    request.parts_ms = read_header(answer.headers.get(HEADER, ""))
    return dict(found)


def _is_at(region: Region, xy_px: tuple[float, float]) -> bool:
    x = region["value"]["x"] / 100 * region["original_width"]
    y = region["value"]["y"] / 100 * region["original_height"]
    return bool(abs(x - xy_px[0]) <= SAME_PX and abs(y - xy_px[1]) <= SAME_PX)
