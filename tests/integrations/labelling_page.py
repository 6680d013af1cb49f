"""The labelling page of Label Studio in a browser, and what a hand does there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from integrations.label_studio.client import LabelStudio
from integrations.label_studio.server import free_port
from integrations.label_studio.tasks import make_prediction, make_task
from tests.integrations.follower import FOUND, SIZE_WH, SKELETON, Follower, Place

STEP_MS = 40
LOOK_MS = 200  # until the script has noticed, with a margin

SUBMIT = "button[name=submit]"
ANNOTATION = "window.Htx.annotationStore.selected"
IMAGE = f"[...{ANNOTATION}.names.values()].find(tag => tag.type === 'image')"
IS_OPEN = f"""task => window.Htx?.task?.id === task && {ANNOTATION}?.regions.length > 20 && {IMAGE}?.stageRef
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

    def move_on_to(self, task: int) -> None:
        """Open another task as a click on its row does, without loading the page again."""
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

    def panel(self) -> str:
        """What the script says in its panel."""
        return str(self.page.inner_text("#clickpose-badge"))

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
        self.page.wait_for_timeout(5 * LOOK_MS)  # the side panel is built again

    def type_in_side_panel(self, key: str, *, times: int = 1) -> None:
        """Press a key in the field that shows how far to the right the selected point is.

        Slower than a machine: when Label Studio has drawn a number, it writes it into the point again, and a key that
        came in between would be lost.
        """
        field = self.page.locator(".lsf-region-editor input").first
        field.focus()
        for _ in range(times):
            field.press(key)
            self.page.evaluate("() => new Promise(goOn => setTimeout(goOn, 60))")
