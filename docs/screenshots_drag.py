"""Take ``docs/drag.png``: a predicted pose in Label Studio, one keypoint being dragged, and the others that followed.

    pip install playwright        (and a Chromium, say from apt-get install chromium)
    python docs/screenshots_drag.py

As ``docs/screenshots.py`` it starts and stops Label Studio, Ray and the service, and besides them the proxy that brings
the page script: limbs and rings are drawn by that. Only the captions, and white lines along the ways that keypoints
went, are drawn afterwards.
"""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from screenshots import (
    IS_SHOWN,
    PLACES,
    SETTLED_MS,
    TO_PAGE,
    WAIT_MS,
    WINDOW,
    Scene,
    clip_around,
    create_project,
    find_scene,
    shoot,
    side_by_side,
    with_paths,
)

from clickpose.commands.demo.pictures import MODEL
from clickpose.commands.demo.stack import running_stack
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from integrations.label_studio.proxy import build_proxy
from integrations.label_studio.server import LabelStudioServer, free_port
from pipeline.registry import Registry
from pipeline.store import Store

DRAG = Path(__file__).with_name("drag.png")
STEPS, STEP_MS = 12, 40
ANSWER = "**/interactive-annotating*"


def main(
    model: Annotated[Path, typer.Option(help="Model folder.")] = MODEL,
    picture: Annotated[str, typer.Option(help="One of the annotated pictures.")] = "000000434204.jpg",
    person: Annotated[int, typer.Option(help="Which of its labelled persons.")] = 0,
    keypoint: Annotated[str, typer.Option(help="What is dragged.")] = "right_knee",
    browser: Annotated[str, typer.Option(help="Chromium's program file.")] = "/usr/bin/chromium",
    out: Annotated[Path, typer.Option(help="The picture to write.")] = DRAG,
) -> None:
    """Start everything, drag once, and write three pictures of it side by side."""
    predictor = Predictor.load(model)
    scene = find_scene(predictor, picture, person, keypoint)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        Registry(store).promote(Registry(store).add(model))
        with running_stack(Path(folder), Path(folder) / "store", (scene.picture,)) as stack:
            project = create_project(stack, predictor, scene)
            with (
                running_proxy(stack.server.url, predictor.skeleton) as url,
                labelling_page(url, stack.server, project, browser) as page,
            ):
                panels = play(page, scene)
    side_by_side(panels).quantize(256, kmeans=3).save(out, optimize=True)


@contextmanager
def running_proxy(label_studio_url: str, skeleton: Skeleton) -> Iterator[str]:
    """Run the proxy in a thread until the block ends; yield its URL."""
    port = free_port()
    app = build_proxy(label_studio_url, [skeleton])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", date_header=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def labelling_page(url: str, server: LabelStudioServer, project: int, browser: str) -> Iterator[Page]:
    """Log in through the proxy and open the project's task."""
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=browser, chromium_sandbox=False)) as program,
    ):
        page = program.new_page(viewport=WINDOW, device_scale_factor=2)
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{url}/user/login/")
        page.fill("input[name=email]", server.username)
        page.fill("input[name=password]", server.password)
        page.click("button[type=submit]")
        page.wait_for_load_state()
        page.goto(f"{url}/projects/{project}/data?labeling=1")
        page.wait_for_function(IS_SHOWN)
        page.wait_for_selector("#clickpose-badge")
        page.wait_for_timeout(SETTLED_MS)
        yield page


def play(page: Page, scene: Scene) -> dict[str, Image.Image]:
    """Drag a point to where it belongs; return what was to be seen before, in mid-drag and after it, by caption."""
    around, before = clip_around(page, scene), page.evaluate(PLACES)
    start, end = before[point_of(page, scene)], page.evaluate(TO_PAGE, scene.click_xy)
    panels = {"predicted": shoot(page, around)}
    page.mouse.move(*start)
    page.mouse.down()
    for share in np.linspace(0, 1, STEPS):
        page.mouse.move(*((1 - share) * np.asarray(start) + share * np.asarray(end)))
        page.wait_for_timeout(STEP_MS)
    panels[f"dragging {scene.keypoint}"] = shoot(page, around)
    with page.expect_response(ANSWER):
        page.mouse.up()
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLED_MS)
    after = page.evaluate(PLACES)
    paths = [(before[name], after[name]) for name in before]
    panels["the others followed"] = with_paths(shoot(page, around), paths, around)
    return panels


def point_of(page: Page, scene: Scene) -> str:
    """Return the id of the scene's keypoint, of whoever has most points within the scene's box."""
    left, top = page.evaluate(TO_PAGE, scene.box_xyxy[:2])
    right, bottom = page.evaluate(TO_PAGE, scene.box_xyxy[2:])
    inside = [name for name, (x, y) in page.evaluate(PLACES).items() if left <= x <= right and top <= y <= bottom]
    person, _ = Counter(name.split("_")[0] for name in inside).most_common(1)[0]
    return f"{person}_{scene.keypoint}"


if __name__ == "__main__":
    typer.run(main)
