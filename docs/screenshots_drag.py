"""Take ``docs/drag.png``: a predicted pose in Label Studio, one keypoint being dragged, and the others that followed.

    pip install playwright        (and a Chromium, say from apt-get install chromium)
    python docs/screenshots_drag.py

As ``docs/screenshots.py`` it starts and stops Label Studio, Ray and the service, and besides them the proxy that brings
the page script: limbs, rings and what moves are Label Studio's page as an annotator sees it.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

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
    picture: Annotated[str, typer.Option(help="One of the annotated pictures.")] = "000000252219.jpg",
    person: Annotated[int, typer.Option(help="Which of its labelled persons.")] = 0,
    number: Annotated[int, typer.Option(help="The number of that person in the prediction.")] = 0,
    keypoint: Annotated[str, typer.Option(help="What is dragged.")] = "left_wrist",
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
                panels = play(page, scene, f"p{number}_{keypoint}")
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


def play(page: Page, scene: Scene, point: str) -> dict[str, Image.Image]:
    """Drag a point to where it belongs; return what was to be seen before, in mid-drag and after it, by caption."""
    around = clip_around(page, scene)
    panels = {"predicted": shoot(page, around)}
    start, end = page.evaluate(PLACES)[point], page.evaluate(TO_PAGE, scene.click_xy)
    page.mouse.move(*start)
    page.mouse.down()
    for step in range(1, STEPS + 1):
        share = step / STEPS
        page.mouse.move(*((1 - share) * a + share * b for a, b in zip(start, end, strict=True)))
        page.wait_for_timeout(STEP_MS)
    panels[f"dragging {scene.keypoint}"] = shoot(page, around)
    with page.expect_response(ANSWER):
        page.mouse.up()
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLED_MS)
    panels["the others followed"] = shoot(page, around)
    return panels


if __name__ == "__main__":
    typer.run(main)
