"""Take ``docs/loop.png``: predicted poses in the editor, one keypoint being dragged, and the others that followed.

    pip install playwright        (and a Chromium, say from apt-get install chromium)
    python docs/screenshots.py

It starts and stops all that ``clickpose annotate`` does. Only the captions, and white lines along the ways that
keypoints went, are drawn afterwards.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import FloatRect, Page, ViewportSize, sync_playwright

from clickpose.annotations import convert_set
from clickpose.commands.annotate.background import Background
from clickpose.commands.annotate.desk import Desk, open_desk
from clickpose.commands.demo.images import MODEL, PICTURES, copy_images
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from integrations.label_studio.server import free_port

WINDOW: ViewportSize = {"width": 1360, "height": 940}
HEIGHT_PX, CAPTION_PX, GAP_PX = 500, 34, 12
SEEN_PX = 3  # a shorter way is not drawn
MARGIN, MIN_ASPECT = 0.15, 0.6  # of the person's box, shown around it; of the part that is shown
WAIT_MS, SETTLED_MS = 60_000, 1000
STEPS, STEP_MS = 12, 40
ANSWER = "**/interactive-annotating*"
LOOP = Path(__file__).with_name("loop.png")

IMAGE = """() => [...window.Htx.annotationStore.selected.names.values()].find(tag => tag.type === 'image')"""
IS_SHOWN = f"""() => window.Htx?.annotationStore?.selected && ({IMAGE})()?.stageRef && ({IMAGE})().stageWidth > 10"""
TO_PAGE = f"""([x, y]) => {{
    const image = ({IMAGE})(), corner = image.stageRef.container().getBoundingClientRect()
    const place = {{x: x * image.stageWidth, y: y * image.stageHeight}}
    const at = image.stageRef.getAbsoluteTransform().point(place)
    return [corner.left + at.x, corner.top + at.y]
}}"""
PLACES = f"""() => Object.fromEntries(window.Htx.annotationStore.selected.regions
    .filter(region => region.type === 'keypointregion')
    .map(region => [region.cleanId, ({TO_PAGE})([region.x / 100, region.y / 100])]))"""

Place: TypeAlias = tuple[float, float]


class Scene(NamedTuple):
    """A picture and a click: where it goes and around whom, both in shares of the picture's width and height."""

    picture: Path
    keypoint: str
    click_xy: Place
    box_xyxy: tuple[float, float, float, float]


def main(
    model: Annotated[Path, typer.Option(help="Model folder.")] = MODEL,
    picture: Annotated[str, typer.Option(help="One of the annotated pictures.")] = "000000000790.jpg",
    person: Annotated[int, typer.Option(help="Which of its labelled persons.")] = 3,
    keypoint: Annotated[str, typer.Option(help="What is dragged.")] = "right_ankle",
    browser: Annotated[str, typer.Option(help="Chromium's program file.")] = "/usr/bin/chromium",
    out: Annotated[Path, typer.Option(help="The picture to write.")] = LOOP,
) -> None:
    """Start everything, drag once, and write three pictures of it side by side."""
    scene = find_scene(Predictor.load(model), picture, person, keypoint)
    with tempfile.TemporaryDirectory() as folder:
        photos = copy_images((scene.picture,), Path(folder) / "pictures")
        with open_desk(photos, Path(folder) / "data", model=model, port=free_port()) as desk:
            Background(desk, print).label()
            with labelling_page(desk, browser) as page:
                panels = play(page, scene)
    side_by_side(panels).quantize(256, kmeans=3).save(out, optimize=True)


def find_scene(predictor: Predictor, picture: str, person: int, keypoint: str) -> Scene:
    """Look up in the annotations where a person's keypoint belongs."""
    truth = convert_set(read_coco(PICTURES / "annotations.json"), predictor.skeleton)
    record = next(record for record in truth.images if record.file_name == picture)
    who = [one for one in record.persons if one.num_labelled][person]
    x, y = who.keypoints_px[predictor.skeleton.index(keypoint)] / record.size_wh
    x0, y0, x1, y1 = (who.box_px.reshape(2, 2) / record.size_wh).reshape(4)
    return Scene(PICTURES / "images" / picture, keypoint, (float(x), float(y)), (x0, y0, x1, y1))


@contextmanager
def labelling_page(desk: Desk, browser: str) -> Iterator[Page]:
    """Log in and open the project's first task."""
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=browser, chromium_sandbox=False)) as program,
    ):
        page = program.new_page(viewport=WINDOW, device_scale_factor=2)
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{desk.address}?labeling=1")
        page.fill("input[name=email]", desk.username)
        page.fill("input[name=password]", desk.password)
        page.click("button[type=submit]")
        page.wait_for_url(f"{desk.address}**")
        page.goto(f"{desk.address}?labeling=1")
        page.wait_for_function(IS_SHOWN)
        page.wait_for_selector("#clickpose-badge")
        page.wait_for_timeout(SETTLED_MS)
        yield page


def play(page: Page, scene: Scene) -> dict[str, Image.Image]:
    """Drag a point to where it belongs; return what was to be seen before, in mid-drag and after it, by caption."""
    before = page.evaluate(PLACES)
    start, end = before[point_of(page, scene)], page.evaluate(TO_PAGE, scene.click_xy)
    around = clip_around(page, scene, (start, end))
    panels = {"predicted": shoot(page, page.locator(".lsf-main-content").bounding_box())}
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
    """Return the id of the scene's keypoint, of the person whose points fill the scene's box best."""
    box = page.evaluate(TO_PAGE, scene.box_xyxy[:2]) + page.evaluate(TO_PAGE, scene.box_xyxy[2:])
    persons = defaultdict(list)
    for name, place in page.evaluate(PLACES).items():
        persons[name.split("_")[0]].append(place)
    extents = {person: [*np.min(places, axis=0), *np.max(places, axis=0)] for person, places in persons.items()}
    nearest = min(extents, key=lambda person: np.abs(np.subtract(extents[person], box)).sum())
    return f"{nearest}_{scene.keypoint}"


def clip_around(page: Page, scene: Scene, drag: tuple[Place, Place]) -> FloatRect:
    """Return the part of the page that shows the person and the drag."""
    canvas = page.locator(".konvajs-content").bounding_box()
    assert canvas is not None
    corners = [page.evaluate(TO_PAGE, scene.box_xyxy[:2]), page.evaluate(TO_PAGE, scene.box_xyxy[2:]), *drag]
    (x0, y0), (x1, y1) = np.min(corners, axis=0).tolist(), np.max(corners, axis=0).tolist()
    half_height = (0.5 + MARGIN) * (y1 - y0)
    half_width = max((0.5 + MARGIN) * (x1 - x0), MIN_ASPECT * half_height)
    left, right = max(canvas["x"], (x0 + x1) / 2 - half_width), (x0 + x1) / 2 + half_width
    top, bottom = max(canvas["y"], (y0 + y1) / 2 - half_height), (y0 + y1) / 2 + half_height
    right, bottom = min(right, canvas["x"] + canvas["width"]), min(bottom, canvas["y"] + canvas["height"])
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def with_paths(image: Image.Image, paths: list[tuple[Place, Place]], clip: FloatRect) -> Image.Image:
    """Draw the ways that keypoints went, given in pixels of the page."""
    scale, draw = image.width / clip["width"], ImageDraw.Draw(image)
    for path in paths:
        if math.dist(*path) > SEEN_PX:
            draw.line([(scale * (x - clip["x"]), scale * (y - clip["y"])) for x, y in path], "white", round(3 * scale))
    return image


def shoot(page: Page, clip: FloatRect | None) -> Image.Image:
    """Take a screenshot of a part of the page."""
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


def side_by_side(panels: dict[str, Image.Image]) -> Image.Image:
    """Join pictures, brought to one height, each below its caption."""
    fitted = [image.resize((round(image.width * HEIGHT_PX / image.height), HEIGHT_PX)) for image in panels.values()]
    width = sum(image.width for image in fitted) + GAP_PX * (len(fitted) - 1)
    strip, x = Image.new("RGB", (width, CAPTION_PX + HEIGHT_PX), "white"), 0
    for caption, image in zip(panels, fitted, strict=True):
        strip.paste(image, (x, CAPTION_PX))
        ImageDraw.Draw(strip).text((x, 4), caption, fill="black", font=ImageFont.load_default(22))
        x += image.width + GAP_PX
    return strip


if __name__ == "__main__":
    typer.run(main)
