"""Points dragged in the real Label Studio, in a real browser, through the proxy and its page script."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from clickpose.annotations import Pose
from clickpose.errors import NotReady
from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.proxy import build_proxy
from integrations.label_studio.routes import build_router
from integrations.label_studio.server import LabelStudioServer, free_port
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from integrations.label_studio.tasks import make_prediction, make_task, read_annotation
from tests.browser import find_chromium

pytestmark = pytest.mark.cluster

SKELETON = Skeleton.load("coco17")
SIZE_WH = (640, 480)
WAIT_MS = 120_000  # a busy machine takes its time
SLOW_S = 3.0  # an answer so late that a hand can do something else before it comes
STEP_MS = 40

STANDING = [  # in shares of the box, apart enough for a mouse
    *[(0.5, 0.14), (0.6, 0.07), (0.4, 0.07), (0.72, 0.1), (0.28, 0.1), (0.8, 0.25), (0.2, 0.25)],
    *[(0.9, 0.4), (0.1, 0.4), (0.95, 0.55), (0.05, 0.55), (0.65, 0.55), (0.35, 0.55)],
    *[(0.65, 0.75), (0.35, 0.75), (0.65, 0.93), (0.35, 0.93)],
]

ANNOTATION = "window.Htx.annotationStore.selected"
IMAGE = f"[...{ANNOTATION}.names.values()].find(tag => tag.type === 'image')"
IS_OPEN = f"""task => window.Htx?.task?.id === task && {ANNOTATION}?.regions.length > 30 && {IMAGE}?.stageRef
    && {IMAGE}.stageWidth > 10"""
TO_PAGE = f"""([x, y]) => {{
    const image = {IMAGE}, corner = image.stageRef.container().getBoundingClientRect()
    const place = {{x: x / 100 * image.stageWidth, y: y / 100 * image.stageHeight}}
    const at = image.stageRef.getAbsoluteTransform().point(place)
    return [corner.left + at.x, corner.top + at.y]
}}"""
PLACES = f"() => Object.fromEntries({ANNOTATION}.regions.map(region => [region.cleanId, [region.x, region.y]]))"
HELD = f"() => {ANNOTATION}.regions.filter(region => region.meta?.held).map(region => region.cleanId)"
HISTORY = f"() => [{ANNOTATION}.history.undoIdx, {ANNOTATION}.history.history.length]"
LAYERS = f"() => {IMAGE}.stageRef.find('.clickpose').length"
TOOL = f"() => {IMAGE}.getToolsManager().findSelectedTool()?.fullName ?? null"
DRAWN_AT = f"""([x, y]) => {{
    const image = {IMAGE}, canvas = image.stageRef.findOne('.clickpose').getCanvas(), ratio = canvas.getPixelRatio()
    const place = {{x: x / 100 * image.stageWidth, y: y / 100 * image.stageHeight}}
    const at = image.stageRef.getAbsoluteTransform().point(place)
    return [...canvas.getContext()._context.getImageData(at.x * ratio, at.y * ratio, 1, 1).data]
}}"""
IS_SETTLED = """() => { const badge = document.querySelector('#clickpose-badge')?.textContent
    return badge && !badge.includes('…') }"""

Place = tuple[float, float]


def standing(box_px: tuple[float, ...]) -> Pose:
    """Somebody who stands in that box, with one ear out of sight."""
    box = np.array(box_px, np.float32)
    visibility = np.full(len(SKELETON), 2)
    visibility[SKELETON.index("left_ear")] = 1
    return Pose(
        keypoints_px=(box[:2] + np.array(STANDING) * (box[2:] - box[:2])).astype(np.float32),
        visibility=visibility,
        scores=np.linspace(0.9, 0.5, len(SKELETON), dtype=np.float32),
        box_px=box,
        score=0.9,
        held=np.zeros(len(SKELETON), np.bool_),
    )


FOUND = [standing((40, 30, 280, 460)), standing((350, 30, 600, 460))]


@dataclass
class Follower:
    """A pose service: whatever nobody holds goes half the way that the edited keypoint went since it was found."""

    skeleton: Skeleton = SKELETON
    delay_s: float = 0.0
    failure: Exception | None = None
    edits: list[KeypointEdit | PersonEdit] = field(default_factory=list)

    async def model_version(self) -> str:
        return "follower-1"

    async def status(self) -> dict[str, Any]:
        return {"status": "ready"}

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        return PoseAnswer(FOUND, SIZE_WH, "follower-1")

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        self.edits.append(edit)
        await asyncio.sleep(self.delay_s)
        if self.failure:
            raise self.failure
        assert isinstance(edit, KeypointEdit)
        poses = list(screen.saved)
        person = nearest(edit) if edit.person is None else edit.person
        pose, found = poses[person], FOUND[person]
        keypoints_px = np.where(pose.held[:, None], pose.keypoints_px, half_way(found, edit.keypoint, edit.xy_px))
        held = pose.held.copy()
        keypoints_px[edit.keypoint], held[edit.keypoint] = edit.xy_px, True
        poses[person] = replace(pose, keypoints_px=keypoints_px.astype(np.float32), held=held)
        return PoseAnswer(poses, SIZE_WH, "follower-1", person)


def nearest(edit: KeypointEdit) -> int:
    """Who had that keypoint nearest to the click from the start."""
    places = [found.keypoints_px[edit.keypoint] for found in FOUND]
    return int(np.linalg.norm(np.stack(places) - edit.xy_px, axis=1).argmin())


def half_way(found: Pose, keypoint: int, xy_px: Place) -> Any:
    """Where all keypoints go when one of them goes there."""
    return found.keypoints_px + (np.asarray(xy_px, np.float32) - found.keypoints_px[keypoint]) / 2


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an app on a free port from a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", date_header=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class Editor:
    """The labelling page, and what a hand does there."""

    def __init__(self, page: Any, url: str, client: LabelStudio, project: int, service: Follower) -> None:
        self.page, self.url, self.client, self.project, self.service = page, url, client, project, service
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text) if "Click-Pose" in message.text else None)

    def log_in(self, username: str, password: str) -> None:
        self.page.goto(f"{self.url}/user/login/")
        self.page.fill("input[name=email]", username)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(f"{self.url}/**")
        self.page.wait_for_load_state()

    def new_task(self) -> int:
        """Import one more task, predicted."""
        prediction = make_prediction(FOUND, SKELETON, SIZE_WH, model_version="follower-1")
        task = make_task("/data/local-files/?d=pictures/a.png", SIZE_WH, file_name="a.png", predictions=[prediction])
        return self.client.import_tasks(self.project, [task])[0]

    def open(self, task: int, *, with_script: bool = True) -> None:
        self.page.goto(f"{self.url}/projects/{self.project}/data?task={task}")
        self.page.wait_for_function(IS_OPEN, arg=task)
        if with_script:
            self.page.wait_for_function(IS_SETTLED)
        self.page.wait_for_timeout(1000)

    def go_on_to(self, task: int) -> None:
        """Open another task as a click on its row does, without loading the page anew."""
        self.page.evaluate("task => { window.DM._sdk.lsf.saveDraft(); window.DM.startLabeling({id: task}) }", task)
        self.page.wait_for_function(IS_OPEN, arg=task)
        self.page.wait_for_timeout(1500)

    def places(self) -> dict[str, Place]:
        """Where all regions are, in percent."""
        return {name: (x, y) for name, (x, y) in self.page.evaluate(PLACES).items()}

    def moved_since(self, before: dict[str, Place]) -> set[str]:
        return {name for name, place in self.places().items() if before.get(name) != place}

    def drag(self, region: str, by_px: Place = (30, 20)) -> None:
        """Drag a point, and let go without waiting for the answer."""
        self.drag_from(self.page.evaluate(TO_PAGE, self.places()[region]), by_px)

    def drag_from(self, start: Place, by_px: Place) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        for step in range(1, 6):
            self.page.mouse.move(start[0] + by_px[0] * step / 5, start[1] + by_px[1] * step / 5)
            self.page.wait_for_timeout(STEP_MS)
        self.page.mouse.up()
        self.page.wait_for_timeout(5 * STEP_MS)

    def settle(self) -> None:
        """Wait for all answers."""
        self.page.wait_for_function(IS_SETTLED)
        self.page.wait_for_timeout(5 * STEP_MS)

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)
        self.page.wait_for_timeout(10 * STEP_MS)

    def select(self, *regions: str) -> None:
        self.page.evaluate(
            f"ids => {ANNOTATION}.selectAreas({ANNOTATION}.regions.filter(r => ids.includes(r.cleanId)))", regions
        )
        self.page.wait_for_timeout(1000)  # the picture moves down to make room


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's program; whoever can have none sees why this is not tested."""
    try:
        return find_chromium()
    except (ImportError, LookupError) as error:
        pytest.skip(f"NO TEST IN A BROWSER: {error}")


@pytest.fixture(scope="module")
def page(chromium: str) -> Iterator[Any]:
    """A page of a headless Chromium."""
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def desk(chromium: str, page: Any, label_studio: LabelStudioServer) -> Iterator[Editor]:
    """Label Studio behind the proxy, with a project and a service, and somebody logged in."""
    pictures = label_studio.files / "pictures"
    pictures.mkdir(parents=True)
    Image.new("RGB", SIZE_WH, "#5a6a7a").save(pictures / "a.png")
    service, app = Follower(), FastAPI()
    app.include_router(build_router(service))
    with (
        serving(app) as backend,
        serving(build_proxy(label_studio.url, [SKELETON])) as url,
        LabelStudio(label_studio.url, label_studio.token) as client,
    ):
        project = client.create_project("drag", labelling_interface(SKELETON))["id"]
        client.add_local_files(project, str(pictures))
        client.connect_backend(project, backend, title="follower", user="", password="")
        editor = Editor(page, url, client, project, service)
        editor.new_task()
        client.show_predictions_of(project, "follower-1")  # Label Studio must have one of them
        editor.log_in(label_studio.username, label_studio.password)
        yield editor


@pytest.fixture
def editor(desk: Editor) -> Editor:
    """A fresh task is open, and the service in its right mind."""
    desk.service.delay_s, desk.service.failure = 0.0, None
    desk.service.edits.clear()
    desk.said.clear()
    desk.open(desk.new_task())
    return desk


def of_person(person: int) -> set[str]:
    return {f"p{person}_{name}" for name in SKELETON.keypoints}


def test_the_others_follow_and_one_undo_takes_back_both(editor: Editor) -> None:
    before = editor.places()
    editor.drag("p0_left_wrist")
    editor.settle()
    after = editor.places()

    assert editor.moved_since(before) == of_person(0)
    assert editor.page.evaluate(HELD) == ["p0_left_wrist"]
    way = np.subtract(after["p0_left_wrist"], before["p0_left_wrist"])
    for name in of_person(0) - {"p0_left_wrist"}:
        assert np.subtract(after[name], before[name]) == pytest.approx(way / 2, abs=1e-3)

    editor.press("Control+z")
    assert editor.places() == before and editor.page.evaluate(HELD) == []
    editor.press("Control+Shift+z")
    assert editor.places() == after and editor.page.evaluate(HELD) == ["p0_left_wrist"]

    editor.drag("p0_right_knee")
    editor.settle()
    assert editor.places()["p0_left_wrist"] == after["p0_left_wrist"]


def test_limbs_and_held_points_are_drawn(editor: Editor) -> None:
    places = editor.places()
    thigh = tuple(np.mean([places["p1_right_hip"], places["p1_right_knee"]], axis=0))
    assert editor.page.evaluate(DRAWN_AT, thigh) == [235, 87, 87, 255]
    assert editor.page.evaluate(DRAWN_AT, (50.0, 95.0))[3] == 0
    editor.drag("p1_left_wrist", by_px=(20, -60))
    editor.settle()
    editor.page.wait_for_timeout(500)
    x, y = editor.places()["p1_left_wrist"]
    ring = x + 100 * 9 / editor.page.evaluate(f"() => {IMAGE}.stageWidth * {IMAGE}.stageRef.scaleX()"), y
    assert min(editor.page.evaluate(DRAWN_AT, ring)[:3]) > 200


def test_what_is_submitted_is_what_was_on_the_screen(editor: Editor) -> None:
    (prediction,) = editor.client.task(task := task_of(editor))["predictions"]
    editor.drag("p0_left_hip")
    editor.settle()
    shown = editor.places()
    with editor.page.expect_response(f"**/api/tasks/{task}/annotations*"):
        editor.page.get_by_test_id("bottombar-submit-button").click()

    record = editor.client.task(task)
    (annotation,) = record["annotations"]
    submitted, predicted = by_id(annotation["result"]), by_id(prediction["result"])
    assert set(submitted) == set(predicted)
    for (name, kind), region in submitted.items():
        assert (region["value"]["x"], region["value"]["y"]) == shown[name]
        if not name.startswith("p0_"):
            assert region["value"] == predicted[name, kind]["value"]
        if kind == "choices":
            assert region["value"]["choices"] == predicted[name, kind]["value"]["choices"]
        elif name in of_person(0) - {"p0_left_hip"}:
            assert region["meta"]["held"] is False and region["meta"]["at"][:2] == list(shown[name])
        elif name.startswith("p1"):
            assert region["meta"] == predicted[name, kind]["meta"]
    sources = {(r.person_id % 2, r.keypoint): r.source for r in read_annotation(record, annotation, SKELETON).records}
    assert [keypoint for keypoint, source in sources.items() if source != "accepted"] == [(0, "left_hip")]


def test_late_answers_to_overlapping_drags_are_each_undone_with_their_drag(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start = editor.places()
    editor.drag("p0_nose")
    editor.drag("p1_nose")
    assert editor.moved_since(start) == {"p0_nose", "p1_nose"}
    editor.settle()
    both = editor.places()
    assert editor.moved_since(start) == of_person(0) | of_person(1)

    editor.press("Control+z")
    assert editor.moved_since(start) == of_person(0) and editor.moved_since(both) == of_person(1)
    editor.press("Control+z")
    assert editor.places() == start
    editor.press("Control+Shift+z")
    editor.press("Control+Shift+z")
    assert editor.places() == both


def test_only_the_newest_answer_about_a_person_counts(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start = editor.places()
    editor.drag("p0_nose", by_px=(30, 0))
    editor.drag("p0_left_knee", by_px=(0, 16))
    editor.settle()
    after = editor.places()
    way = np.subtract(after["p0_left_knee"], start["p0_left_knee"])
    assert np.subtract(after["p0_right_ankle"], start["p0_right_ankle"]) == pytest.approx(way / 2, abs=1e-3)
    assert after["p0_nose"][1] == pytest.approx(start["p0_nose"][1]) and after["p0_nose"][0] > start["p0_nose"][0]


def test_late_answer_overwrites_nothing_that_was_done_meanwhile(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start = editor.places()
    editor.drag("p0_nose")
    editor.press("Control+z")
    editor.settle()
    assert editor.places() == start and editor.page.evaluate(HELD) == []


def test_late_answer_spares_what_was_deleted_or_judged_meanwhile(editor: Editor) -> None:
    editor.service.delay_s = 2 * SLOW_S
    start = editor.places()
    editor.drag("p0_nose")
    editor.select("p0_right_ear")
    editor.press("x")  # occluded
    editor.press("Escape")
    editor.page.evaluate(f"() => {ANNOTATION}.regions.find(region => region.cleanId === 'p0_left_ear').deleteRegion()")
    editor.settle()
    assert editor.moved_since(start) == of_person(0) - {"p0_left_ear"}
    assert "p0_left_ear" not in editor.places()
    result = by_id(editor.page.evaluate(f"() => {ANNOTATION}.serializeAnnotation()"))
    assert result["p0_right_ear", "choices"]["value"]["choices"] == ["occluded"]
    after = editor.places()
    editor.press("Control+z")
    assert set(editor.places()) == set(start) and not editor.moved_since(after) - {"p0_left_ear"}
    editor.press("Control+z")
    editor.press("Control+z")
    assert editor.places() == start and editor.page.evaluate(HELD) == []


def test_late_answer_stays_out_of_the_next_task(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start, left = editor.places(), task_of(editor)
    editor.drag("p0_nose")
    dropped = editor.places()["p0_nose"]
    editor.go_on_to(editor.new_task())
    assert editor.places() == start
    editor.page.wait_for_timeout(1000 * SLOW_S)
    assert len(editor.service.edits) == 1 and editor.places() == start

    (draft,) = editor.client.task(left)["drafts"]
    nose = by_id(draft["result"])["p0_nose", "keypointlabels"]
    assert (nose["value"]["x"], nose["value"]["y"]) == dropped and nose["meta"]["held"]
    editor.service.delay_s = 0.0
    editor.drag("p1_nose")
    editor.settle()
    assert editor.moved_since(start) == of_person(1)


def test_several_points_dragged_together_are_one_step(editor: Editor) -> None:
    start, steps = editor.places(), editor.page.evaluate(HISTORY)[0]
    dragged = ["p0_left_wrist", "p0_left_elbow", "p1_right_wrist"]
    editor.select(*dragged)
    corners = [editor.page.evaluate(TO_PAGE, editor.places()[name]) for name in dragged]
    (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
    editor.drag_from(((left + right) / 2, (top + bottom) / 2), (12.0, 16.0))
    editor.settle()
    assert editor.moved_since(start) == of_person(0) | of_person(1)
    assert sorted(editor.page.evaluate(HELD)) == sorted(dragged)
    assert editor.page.evaluate(HISTORY)[0] == steps + 1
    ways = [np.subtract(editor.places()[name], start[name]) for name in dragged]
    assert ways[1] == pytest.approx(ways[0], abs=0.01) and ways[2] == pytest.approx(ways[0], abs=0.01)
    editor.press("Escape")
    editor.press("Control+z")
    assert editor.places() == start and editor.page.evaluate(HELD) == []


def test_arrow_keys_in_the_side_panel_move_a_point_and_the_others_follow(editor: Editor) -> None:
    start = editor.places()
    editor.select("p1_left_knee")
    x_field = editor.page.locator(".lsf-region-editor input").first
    x_field.click()
    for _ in range(3):
        x_field.press("ArrowUp")
    with editor.page.expect_response("**/interactive-annotating*"):
        pass
    editor.settle()
    assert editor.moved_since(start) == of_person(1)
    assert editor.places()["p1_left_knee"][0] == pytest.approx(start["p1_left_knee"][0] + 3)
    assert editor.page.evaluate(HELD) == ["p1_left_knee"] and len(editor.service.edits) == 1


def test_ctrl_click_works_as_without(editor: Editor) -> None:
    start = editor.places()
    for toggle in ("bottombar-auto-annotation-toggle", "bottombar-auto-accept-toggle"):
        editor.page.get_by_test_id(toggle).locator("xpath=ancestor::label").click()
    editor.page.mouse.click(*editor.page.evaluate(TO_PAGE, [99, 99]))
    editor.press("k")
    editor.press("0")  # left wrist
    x, y = editor.page.evaluate(TO_PAGE, start["p1_left_wrist"])
    editor.page.keyboard.down("Control")
    with editor.page.expect_response("**/interactive-annotating*"):
        editor.page.mouse.click(x - 30, y - 30)
    editor.page.keyboard.up("Control")
    editor.page.wait_for_timeout(1500)
    assert editor.moved_since(start) >= of_person(1) and set(editor.places()) == set(start)
    assert editor.page.evaluate(HELD) == ["p1_left_wrist"]
    clicked = editor.places()
    editor.press("Escape")
    editor.press("v")
    editor.drag("p1_right_knee")
    editor.settle()
    assert editor.places()["p1_left_wrist"] == clicked["p1_left_wrist"]
    assert editor.moved_since(clicked) == of_person(1) - {"p1_left_wrist"}
    editor.page.evaluate("() => localStorage.clear()")  # of toggles and tools


def test_tabs_come_and_go(editor: Editor) -> None:
    start, store = editor.places(), "window.Htx.annotationStore"
    editor.page.evaluate(f"() => {store}.selectPrediction({store}.predictions[0].id)")
    editor.page.wait_for_timeout(1500)
    assert editor.page.evaluate(LAYERS) == 1
    editor.drag("p0_nose")
    assert editor.places() == start and editor.service.edits == []

    editor.page.evaluate(f"() => {store}.toggleViewingAllAnnotations()")
    editor.page.wait_for_timeout(1500)
    assert editor.page.locator("#clickpose-badge").count() == 0
    editor.page.evaluate(f"() => {store}.toggleViewingAllAnnotations()")
    editor.page.evaluate(f"() => {store}.selectAnnotation({store}.annotations[0].id)")
    editor.page.wait_for_timeout(1500)
    assert editor.page.evaluate(LAYERS) == 1
    editor.drag("p0_nose")
    editor.settle()
    assert editor.moved_since(start) == of_person(0)


def test_next_task_of_the_label_stream_is_worked_on_too(editor: Editor) -> None:
    editor.new_task()
    editor.page.goto(f"{editor.url}/projects/{editor.project}/data?labeling=1")
    editor.page.wait_for_function(IS_SETTLED)
    editor.page.wait_for_timeout(1000)
    for _ in range(2):
        start, task = editor.places(), task_of(editor)
        editor.drag("p1_right_wrist", by_px=(-16, 12))
        editor.settle()
        assert editor.moved_since(start) == of_person(1)
        editor.page.get_by_test_id("bottombar-submit-button").click()
        editor.page.wait_for_function("task => window.Htx?.task && window.Htx.task.id !== task", arg=task)
        editor.page.wait_for_function(IS_OPEN, arg=task_of(editor))
        editor.page.wait_for_timeout(1500)


def test_service_that_fails_leaves_the_drag_alone(editor: Editor) -> None:
    start = editor.places()
    editor.service.failure = NotReady("the model is loading")
    editor.drag("p0_nose")
    editor.settle()
    assert editor.moved_since(start) == {"p0_nose"}
    assert editor.page.evaluate(HELD) == ["p0_nose"]

    editor.page.route("**/interactive-annotating*", lambda route: route.fulfill(json={"errors": ["nobody is there"]}))
    try:
        editor.drag("p0_left_knee")
        editor.settle()
    finally:
        editor.page.unroute("**/interactive-annotating*")
    assert editor.moved_since(start) == {"p0_nose", "p0_left_knee"}
    assert "nobody is there" in editor.page.inner_text("#clickpose-badge")
    assert [line for line in editor.said if "nobody is there" in line]

    editor.service.failure = None
    editor.drag("p0_left_wrist")
    editor.settle()
    assert editor.moved_since(start) == of_person(0)
    assert editor.page.inner_text("#clickpose-badge") == "Click-Pose: on"


def test_switched_off_it_leaves_no_trace(editor: Editor) -> None:
    start = editor.places()
    editor.page.click("#clickpose-badge")
    editor.page.wait_for_timeout(500)
    assert editor.page.evaluate(LAYERS) == 0
    editor.drag("p0_nose")
    editor.page.wait_for_timeout(1000)
    assert editor.moved_since(start) == {"p0_nose"}
    assert editor.page.evaluate(HELD) == [] and editor.service.edits == []
    editor.page.click("#clickpose-badge")
    editor.page.wait_for_timeout(500)
    editor.drag("p0_left_knee")
    editor.settle()
    assert editor.moved_since(start) == of_person(0)


@pytest.mark.parametrize(
    ("known", "unknown", "said"),
    [
        ('["1.23.2"]', '["0.1.0"]', "tested with Label Studio 0.1.0 only, and this is"),
        ('"safeUnfreeze",', '"safeUnfreeze", "thaw",', "off from now on: this Label Studio lacks history"),
    ],
    ids=["unknown version", "missing internals"],
)
def test_passive_on_another_label_studio(desk: Editor, known: str, unknown: str, said: str) -> None:
    def change(route: Any) -> None:
        answer = route.fetch()
        assert known in answer.text()
        route.fulfill(response=answer, body=answer.text().replace(known, unknown))

    desk.said.clear()
    desk.service.edits.clear()
    desk.page.route("**/__clickpose__/editor.js", change)
    try:
        desk.open(desk.new_task(), with_script=False)
        start = desk.places()
        desk.page.wait_for_timeout(1000)
        assert desk.page.evaluate(TOOL) is None
        desk.press("v")
        desk.drag("p0_nose")
        desk.page.wait_for_timeout(1000)
        assert desk.moved_since(start) == {"p0_nose"}
        assert desk.page.evaluate(LAYERS) == 0 and desk.page.locator("#clickpose-badge").count() == 0
        assert desk.service.edits == []
        (line,) = desk.said
        assert said in line
    finally:
        desk.page.unroute("**/__clickpose__/editor.js")
        desk.page.evaluate("() => localStorage.clear()")  # of the tool


def task_of(editor: Editor) -> int:
    return int(editor.page.evaluate("() => window.Htx.task.id"))


def by_id(result: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(region["id"], region["type"]): region for region in result}
