"""Requests that Label Studio 1.23.2 really sent, with long lists cut short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clickpose.skeleton import Skeleton
from integrations.label_studio.export import read_export
from integrations.label_studio.interactions import read_interaction
from integrations.label_studio.routes import build_router
from integrations.label_studio.schemas import PredictRequest
from integrations.label_studio.service import KeypointEdit, PersonEdit

PAYLOADS = Path(__file__).parent / "payloads"


def load(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "keypoint", "person", "visibility", "xy_px"),
    [
        ("smart-click", "right_elbow", None, None, (479.88, 240.0)),
        ("alt-click", "left_elbow", None, 0, (191.74, 192.21)),
        ("dynamic-drag", "left_wrist", 0, None, (142.5, 229.5)),
    ],
)
def test_recorded_edit(
    skeleton: Skeleton,
    name: str,
    keypoint: str,
    person: int | None,
    visibility: int | None,
    xy_px: tuple[float, float],
) -> None:
    edit = read_interaction(PredictRequest.model_validate(load(name)), skeleton, "image").edit
    assert isinstance(edit, KeypointEdit)
    assert (skeleton.keypoints[edit.keypoint], edit.person, edit.visibility) == (keypoint, person, visibility)
    assert edit.xy_px == pytest.approx(xy_px, abs=0.01)


@pytest.mark.parametrize(("focus", "person"), [(1, 1), (7, None), (None, None)])
def test_a_click_is_meant_for_the_person_in_focus(skeleton: Skeleton, focus: int | None, person: int | None) -> None:
    payload = load("smart-click")
    payload["params"]["context"]["focus"] = focus  # 7 is on no screen
    edit = read_interaction(PredictRequest.model_validate(payload), skeleton, "image").edit
    assert isinstance(edit, KeypointEdit) and edit.person == person


def test_recorded_smart_rectangle(skeleton: Skeleton) -> None:
    request = PredictRequest.model_validate(load("smart-rectangle"))
    interaction = read_interaction(request, skeleton, "image")
    assert isinstance(interaction.edit, PersonEdit)
    assert interaction.edit.box_px.tolist() == pytest.approx([281.7, 95.9, 333.0, 431.9], abs=0.1)
    assert interaction.present == {0, 1}


def test_recorded_script_names_the_moved_region(skeleton: Skeleton) -> None:
    payload = load("scripted-drag")
    context = payload["params"]["context"]
    context["moved"] = "p0_right_ear"  # the recorded one is among the regions that were cut
    edit = read_interaction(PredictRequest.model_validate(payload), skeleton, "image").edit
    assert edit == KeypointEdit(keypoint=4, xy_px=pytest.approx((92.09, 144.0), abs=0.01), person=0)


def test_recorded_draft_tells_the_user_and_the_saved_poses(skeleton: Skeleton) -> None:
    request = PredictRequest.model_validate(load("smart-click"))
    screen = read_interaction(request, skeleton, "image").screen
    assert screen.session == "3.1795239517/21/admin@example.com"
    assert screen.image_url == "/data/local-files/?d=images/img2.jpg"
    assert [int(pose.visibility.sum()) for pose in screen.saved] == [8]
    assert not screen.saved[0].held.any()
    assert [(seen.person, seen.keypoint) for seen in screen.fresh] == [(0, 8), (1, 8)]


@pytest.mark.parametrize("name", ["smart-click", "alt-click", "smart-rectangle", "dynamic-drag", "batch"])
def test_recorded_request_is_answered(service: Any, name: str) -> None:
    app = FastAPI()
    app.include_router(build_router(service))
    answer = TestClient(app).post("/predict", json=load(name)).json()
    assert all(entry["result"] for entry in answer["results"])


@pytest.mark.parametrize("name", ["annotation-created", "start-training"])
def test_recorded_event_is_handed_over(service: Any, name: str) -> None:
    events: list[str] = []
    app = FastAPI()
    app.include_router(build_router(service, webhook=lambda action, payload: events.append(action)))
    assert TestClient(app).post("/webhook", json=load(name)).status_code == 200
    assert events == [load(name)["action"]]


def test_recorded_export_becomes_training_data(skeleton: Skeleton) -> None:
    (read,) = read_export([load("exported-task")], skeleton).annotations
    (person,) = read.image.persons
    assert (read.image.file_name, read.image.size_wh) == ("images/img0.jpg", (640, 480))
    assert person.visibility[:2].tolist() == [1, 2]
    assert person.keypoints_px[0].tolist() == pytest.approx([83.2, 67.2], abs=1e-3)
    assert {record.source for record in read.records} == {"accepted"}
    assert {record.model_version for record in read.records} == {"base-v1"}
