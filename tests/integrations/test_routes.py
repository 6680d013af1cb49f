"""The ML-backend protocol, as Label Studio speaks it, against a service that needs no model."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clickpose.errors import ImageError, InvalidClick, NotReady
from integrations.label_studio.interactions import saved_result
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.routes import build_router
from integrations.label_studio.schemas import Task
from integrations.label_studio.service import KeypointEdit, PersonEdit

SIZE_WH = (640, 480)


@pytest.fixture
def client(service: Any) -> TestClient:
    app = FastAPI()
    app.include_router(build_router(service))
    return TestClient(app)


def point(region_id: str, label: str, xy_pct: tuple[float, float], **more: Any) -> dict[str, Any]:
    value = {"x": xy_pct[0], "y": xy_pct[1], "width": 0.5, "keypointlabels": [label]}
    size = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1], "image_rotation": 0}
    return {"id": region_id, "type": "keypointlabels", "from_name": "kp", "value": value} | size | more


def box(region_id: str, xywh_pct: tuple[float, float, float, float]) -> dict[str, Any]:
    value = dict(zip(("x", "y", "width", "height"), xywh_pct, strict=True)) | {"rectanglelabels": ["person"]}
    size = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1]}
    return {"id": region_id, "type": "rectanglelabels", "from_name": "box", "value": value} | size


def on_screen(service: Any) -> list[dict[str, Any]]:
    """The regions of the two people that the service finds."""
    return poses_to_result(service.found, service.skeleton, SIZE_WH)


def with_label(service: Any, label: str) -> list[dict[str, Any]]:
    return [item for item in on_screen(service) if label in item["value"].get("keypointlabels", ())]


def body_of(
    service: Any,
    context: list[dict[str, Any]] | dict[str, Any],
    data: dict[str, Any] | None = None,
    drafts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """What Label Studio sends about one edit."""
    task = {
        "id": 21,
        "data": {"image": "/data/local-files/?d=images/a.jpg"} if data is None else data,
        "drafts": drafts or [],
        "predictions": [{"id": 1, "result": on_screen(service)}],
    }
    context = {"result": context} if isinstance(context, list) else context
    return {"tasks": [task], "project": "3.1795", "params": {"login": None, "context": context}}


def ask(
    client: TestClient,
    service: Any,
    context: list[dict[str, Any]] | dict[str, Any],
    *,
    data: dict[str, Any] | None = None,
    drafts: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Send one edit and return the regions of the answer."""
    answer = client.post("/predict", json=body_of(service, context, data, drafts))
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    return result["result"]


def click(label: str, xy_pct: tuple[float, float], **more: Any) -> dict[str, Any]:
    return point("5wiJ5h1HMh", label, xy_pct, is_positive=True, origin="manual") | more


def test_batch_returns_one_entry_per_task_even_when_some_fail(client: TestClient, service: Any) -> None:
    service.failure = ImageError("broken.jpg cannot be decoded")
    tasks = [{"id": 1, "data": {"image": "a.jpg"}}, {"id": 2, "data": {"image": "broken.jpg"}}, {"id": 3}]

    answer = client.post("/predict", json={"tasks": tasks, "params": {"context": None}}).json()

    assert [len(entry["result"]) for entry in answer["results"]] == [36, 0, 0]
    assert answer["results"][0]["model_version"] == "fake-v1"


def test_a_task_whose_image_has_another_key_is_answered_by_the_interface_of_its_project(client: TestClient) -> None:
    interface = '<View><Image name="photo" value="$picture"/></View>'
    tasks = [{"id": 1, "data": {"picture": "a.jpg"}}]
    (result,) = client.post("/predict", json={"tasks": tasks, "label_config": interface}).json()["results"]
    assert len(result["result"]) == 36


def test_boxes_come_last_and_points_name_their_box(client: TestClient) -> None:
    tasks = [{"id": 1, "data": {"image": "a.jpg"}}]
    result = client.post("/predict", json={"tasks": tasks}).json()["results"][0]["result"]
    assert [item["id"] for item in result[-2:]] == ["p0", "p1"]
    assert all(item["parentID"] == item["id"].split("_")[0] for item in result[:-2])


def test_a_click_moves_that_keypoint_of_the_person_that_the_service_chooses(client: TestClient, service: Any) -> None:
    result = ask(client, service, [*with_label(service, "left_wrist"), click("left_wrist", (75.0, 50.0))])

    ((screen, edit),) = service.edits
    assert edit == KeypointEdit(keypoint=9, xy_px=(480.0, 240.0))
    assert [(seen.person, seen.keypoint) for seen in screen.fresh] == [(0, 9), (1, 9)]
    (moved,) = [item for item in result if item["id"] == "p1_left_wrist"]
    assert (moved["value"]["x"], moved["value"]["y"]) == (75.0, 50.0)
    assert moved["meta"]["held"] is True


def test_alt_click_means_absent(client: TestClient, service: Any) -> None:
    seen = with_label(service, "left_elbow")
    result = ask(client, service, [*seen, click("left_elbow", (30.0, 40.0), is_positive=False)])
    assert service.edits[0][1].visibility == 0
    assert {"id": "p0_left_elbow", "choices": ["absent"]} in [
        {"id": item["id"], "choices": item["value"].get("choices")} for item in result
    ]


def test_smart_box_adds_a_person_under_a_new_number(client: TestClient, service: Any) -> None:
    boxes = [item for item in on_screen(service) if item["type"] == "rectanglelabels"]
    result = ask(client, service, [*boxes, box("ubbSd30Rig", (44.0, 20.0, 8.0, 70.0))])
    assert isinstance(service.edits[0][1], PersonEdit)
    assert service.edits[0][1].box_px.tolist() == pytest.approx([281.6, 96.0, 332.8, 432.0])
    assert {item["id"].split("_")[0] for item in result} == {"p0", "p1", "p2"}
    assert result[-1]["id"] == "p2"


def test_scripted_drag_takes_the_whole_screen_from_the_context(client: TestClient, service: Any) -> None:
    screen = on_screen(service)
    moved = next(item for item in screen if item["id"] == "p0_right_knee")
    moved["value"] |= {"x": 20.0, "y": 70.0}

    ask(client, service, {"result": screen, "moved": "p0_right_knee", "held": ["p1_nose"]})

    screen_seen, edit = service.edits[0]
    assert edit == KeypointEdit(keypoint=14, xy_px=(128.0, 336.0), person=0)
    assert screen_seen.saved[1].held.tolist() == [True] + [False] * 16
    assert len(screen_seen.fresh) == 33


def test_dragged_dynamic_prediction_is_an_edit(client: TestClient, service: Any) -> None:
    context = with_label(service, "nose")
    context[1] |= {"origin": "prediction-changed", "is_positive": True}
    result = ask(client, service, context)
    assert service.edits[0][1].person == 1
    assert len([item for item in result if item["type"] == "rectanglelabels"]) == 2


def test_deleted_person_does_not_come_back(client: TestClient, service: Any) -> None:
    seen = [item for item in with_label(service, "nose") if item["id"] == "p1_nose"]
    result = ask(client, service, [*seen, click("nose", (70.0, 30.0))])
    assert {item["id"].split("_")[0] for item in result} == {"p1"}


def test_the_service_learns_that_a_joint_is_occluded_before_it_is_corrected(client: TestClient, service: Any) -> None:
    seen = with_label(service, "left_hip")
    choice = {**seen[0], "type": "choices", "value": {"choices": ["occluded"]}}
    ask(client, service, [*seen, choice, click("left_hip", (20.0, 50.0))])
    screen, edit = service.edits[0]
    assert (screen.fresh[0].visibility, edit.visibility) == (1, None)


def test_joint_dragged_since_the_last_answer_is_held(client: TestClient, service: Any) -> None:
    draft = on_screen(service)
    draft[3]["value"]["x"] += 1.0
    ask(
        client,
        service,
        [*with_label(service, "nose"), click("nose", (20.0, 20.0))],
        drafts=[{"user": "a@b.c", "result": draft}],
    )
    assert service.edits[0][0].saved[0].held.tolist() == [k == 3 for k in range(17)]


def test_what_was_saved_is_what_the_screen_shows_and_not_what_others_made_of_it(skeleton: Any, make_pose: Any) -> None:
    def saved(seed: int, **more: Any) -> dict[str, Any]:
        result = poses_to_result([make_pose(seed=seed)], skeleton, SIZE_WH)
        return {"result": result, "updated_at": f"2026-11-0{seed}"} | more

    annotations = [saved(1), saved(3), saved(5, was_cancelled=True)]
    task = Task.model_validate({"annotations": annotations, "predictions": [saved(2), saved(4)]})
    for one in [*annotations[:2], saved(2), saved(4)]:
        assert saved_result(task, one["result"][4:6]) == one["result"]
    assert saved_result(task, []) == annotations[1]["result"]

    drafts = [saved(6, user="ann@example.com"), saved(7, user="ann@example.com")]
    draft = task.model_copy(update={"drafts": Task.model_validate({"drafts": drafts}).drafts})
    assert saved_result(draft, annotations[0]["result"]) == drafts[1]["result"]  # lags, and yet it is hers


def test_session_is_named_after_project_task_and_user(client: TestClient, service: Any) -> None:
    context = [*with_label(service, "nose"), click("nose", (20.0, 20.0))]
    ask(client, service, context)
    ask(client, service, context, drafts=[{"user": "ann@example.com", "result": on_screen(service)}])
    anonymous, named = (screen for screen, _ in service.edits)
    assert anonymous.session == named.earlier_session == "3.1795/21/"
    assert named.session == "3.1795/21/ann@example.com"


@pytest.mark.parametrize(
    "failure", [InvalidClick("outside"), ImageError("gone"), NotReady("still loading"), RuntimeError("a bug")]
)
def test_failed_edit_answers_the_screen_without_the_click(
    client: TestClient, service: Any, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    service.failure = failure
    seen = with_label(service, "nose")
    assert ask(client, service, [*seen, click("nose", (20.0, 20.0))]) == seen
    assert len(caplog.records) == 1 and "the pose was not changed" in caplog.text


@pytest.mark.parametrize(
    "bad",
    [
        click("nose", (120.0, 20.0)),
        click("tail", (20.0, 20.0)),
        click("nose", (20.0, 20.0), original_width=0),
        click("nose", (20.0, 20.0), value={"x": None}),
        box("ubbSd30Rig", (44.0, 20.0, 0.0, 0.0)),
    ],
    ids=["outside", "unknown label", "no size", "no place", "empty box"],
)
def test_bad_click_never_reaches_the_service_nor_the_screen(
    client: TestClient, service: Any, bad: dict[str, Any]
) -> None:
    seen = with_label(service, "nose")
    assert ask(client, service, [*seen, bad]) == seen
    assert not service.edits


def test_task_without_image_leaves_the_screen(client: TestClient, service: Any) -> None:
    seen = with_label(service, "nose")
    assert ask(client, service, [*seen, click("nose", (20.0, 20.0))], data={"text": "a"}) == seen


def test_context_without_an_edit_leaves_the_screen(client: TestClient, service: Any) -> None:
    seen = with_label(service, "nose")
    assert ask(client, service, seen) == seen
    assert ask(client, service, {"result": None}) == []


def test_failed_dynamic_drag_answers_everybody(client: TestClient, service: Any) -> None:
    service.failure = NotReady("still loading")
    context = with_label(service, "nose")
    context[0] |= {"origin": "prediction-changed", "is_positive": True}
    assert {item["id"] for item in ask(client, service, context)} == {i["id"] for i in on_screen(service)}


def test_setup_and_versions_tell_the_model_version(client: TestClient) -> None:
    assert client.post("/setup", json={"project": "1.2", "schema": "<View/>"}).json() == {"model_version": "fake-v1"}
    assert client.get("/versions").json()["versions"] == ["fake-v1", "fake-v0"]


def test_health_does_not_wait_for_a_slow_service(client: TestClient, service: Any) -> None:
    async def slow_status() -> dict[str, Any]:
        await asyncio.sleep(30)
        return {}

    service.status = slow_status
    start = time.monotonic()
    assert client.get("/health").json() == {"status": "UP", "service": {"status": "busy"}}
    assert time.monotonic() - start < 1.0
