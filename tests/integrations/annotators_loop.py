"""An annotator's loop with a real Label Studio: a click comes back as a pose, a submission as an event and as data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from clickpose.errors import LabelStudioError
from integrations.label_studio.auth import Credentials, Guard
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.export import read_annotation, read_export
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.routes import build_router
from integrations.label_studio.server import LabelStudioServer, free_port
from integrations.label_studio.tasks import make_prediction, make_task

SIZE_WH = (640, 480)


@contextmanager
def backend(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port from a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def wait_for(condition: Callable[[], Any], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def play_annotator(label_studio: LabelStudioServer, service: Any) -> None:
    """Go from a prediction to training data, and check every step."""
    events: list[tuple[str, dict[str, Any]]] = []
    app = FastAPI()
    app.add_middleware(Guard, credentials=Credentials("studio", "s3cret"), webhook_secret="hush")
    app.include_router(build_router(service, webhook=lambda action, payload: events.append((action, payload))))
    skeleton = service.skeleton
    with backend(app) as url, LabelStudio(label_studio.url, label_studio.token) as client:
        project = client.create_project("poses", labelling_interface(skeleton))["id"]
        with pytest.raises(LabelStudioError, match="refused POST /api/ml/"):
            client.connect_backend(project, url, title="clickpose", user="studio", password="wrong")
        connected = client.connect_backend(project, url, title="clickpose", user="studio", password="s3cret")
        client.add_webhook(project, f"{url}/webhook", secret="hush")
        assert len(client.webhooks(project)) == 1

        # Two tasks with predictions: the less certain one is served first.
        sure = make_prediction(service.found, skeleton, SIZE_WH, model_version="v1", score=0.9)
        tasks = [
            make_task(f"/{name}.jpg", SIZE_WH, file_name=f"{name}.jpg", predictions=[sure | {"score": score}])
            for name, score in (("sure", 0.9), ("unsure", 0.1))
        ]
        _, unsure = client.import_tasks(project, tasks)
        client.show_predictions_of(project, "v1")
        assert client.next_task(project)["id"] == unsure

        # The annotator clicks where the left wrist of the person on the right belongs.
        seen = [item for item in sure["result"] if "left_wrist" in item["value"].get("keypointlabels", ())]
        click = seen[0] | {"id": "5wiJ5h1HMh", "parentID": None, "meta": None, "is_positive": True}
        click["value"] = {"x": 75.0, "y": 50.0, "width": 0.5, "keypointlabels": ["left_wrist"]}
        answer = client.ask_backend(connected["id"], unsure, {"result": [*seen, click]})
        assert service.edits[0][1].xy_px == (480.0, 240.0)
        assert {item["id"] for item in answer} == {item["id"] for item in sure["result"]}

        # She submits; the event arrives at once, and the poll tells the same.
        watermark = datetime.now(UTC) - timedelta(minutes=1)
        submitted = client.submit_annotation(unsure, answer, lead_time_s=4.5)
        wait_for(lambda: any(action == "ANNOTATION_CREATED" for action, _ in events))
        assert events[-1][1]["annotation"]["id"] == submitted["id"]
        polled = [task for task in client.tasks(project, changed_since=watermark) if task["annotations"]]
        assert [task["id"] for task in polled] == [unsure]
        assert not list(client.tasks(project, changed_since=datetime.now(UTC) + timedelta(hours=1)))

        # What was answered is what is learnt from, and it is known whose work it was.
        read = read_annotation(polled[0], polled[0]["annotations"][0], skeleton)
        assert (read.image.file_name, read.image.size_wh, read.flagged) == ("unsure.jpg", SIZE_WH, ())
        for person, found in zip(read.image.persons, service.found, strict=True):
            others = np.arange(17) != 9
            assert np.abs(person.keypoints_px - found.keypoints_px)[others].max() <= 1.001
        assert read.image.persons[1].keypoints_px[9].tolist() == [480.0, 240.0]
        by_human = [(r.keypoint, r.source) for r in read.records if r.source != "accepted"]
        assert by_human == [("left_wrist", "placed")]
        assert {(r.model_version, r.lead_time_s) for r in read.records} == {("fake-v1", 4.5)}
        (exported,) = read_export(client.export(project), skeleton).annotations
        assert exported.records == read.records
