"""Take ``docs/loop.png``: people in Label Studio as predicted, one click, and the other keypoints that followed.

    pip install playwright        (and a Chromium, say from apt-get install chromium)
    python docs/screenshots.py

Label Studio, Ray and the service are started for it and stopped again. A browser does what an annotator does: it turns
on auto-annotation, presses K and the keypoint's key, and Ctrl-clicks where the annotations of the picture have it. Only
the captions, and white lines along the ways that keypoints went, are drawn afterwards. ``examples/pictures`` says whose
the picture is.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import typer
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import FloatRect, Page, Route, ViewportSize, sync_playwright

from clickpose.annotations import convert_set
from clickpose.commands.demo.pictures import MODEL, PICTURES
from clickpose.commands.demo.stack import USER, Stack, running_stack
from clickpose.images import read_image
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from integrations.label_studio.interface import KEYPOINT_HOTKEYS, labelling_interface
from integrations.label_studio.tasks import make_prediction, make_task
from pipeline.registry import Registry
from pipeline.store import Store

WINDOW: ViewportSize = {"width": 1360, "height": 940}
HEIGHT_PX, CAPTION_PX, GAP_PX = 500, 34, 12
SEEN_PX = 3  # a shorter way is not drawn
MARGIN, MIN_ASPECT = 0.15, 0.6  # of the person's box, shown around it; of the part that is shown
WAIT_MS, SETTLED_MS = 60_000, 1000
ASKING = "**/interactive-annotating*"
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
    picture: Annotated[str, typer.Option(help="One of the annotated pictures.")] = "000000434204.jpg",
    person: Annotated[int, typer.Option(help="Which of its labelled persons.")] = 0,
    keypoint: Annotated[str, typer.Option(help="What is clicked on.")] = "right_knee",
    browser: Annotated[str, typer.Option(help="Chromium's program file.")] = "/usr/bin/chromium",
    out: Annotated[Path, typer.Option(help="The picture to write.")] = LOOP,
) -> None:
    """Start everything, click once, and write three pictures of it side by side."""
    predictor = Predictor.load(model)
    scene = find_scene(predictor, picture, person, keypoint)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        Registry(store).promote(Registry(store).add(model))
        with running_stack(Path(folder), Path(folder) / "store", (scene.picture,)) as stack:
            project = create_project(stack, predictor, scene)
            with labelling_page(stack, project, browser) as page:
                panels = play(page, scene, key=KEYPOINT_HOTKEYS[predictor.skeleton.index(keypoint)])
    side_by_side(panels).quantize(256, kmeans=3).save(out, optimize=True)


def find_scene(predictor: Predictor, picture: str, person: int, keypoint: str) -> Scene:
    """Look up in the annotations where a person's keypoint belongs."""
    truth = convert_set(read_coco(PICTURES / "annotations.json"), predictor.skeleton)
    image = next(image for image in truth.images if image.file_name == picture)
    who = [one for one in image.persons if one.num_labelled][person]
    x, y = who.keypoints_px[predictor.skeleton.index(keypoint)] / image.size_wh
    x0, y0, x1, y1 = (who.box_px.reshape(2, 2) / image.size_wh).reshape(4)
    return Scene(PICTURES / "images" / picture, keypoint, (float(x), float(y)), (x0, y0, x1, y1))


def create_project(stack: Stack, predictor: Predictor, scene: Scene) -> int:
    """Create a project with one task, predicted and connected to the service."""
    label_studio, skeleton = stack.label_studio, predictor.skeleton
    encoded = predictor.encode(read_image(scene.picture))
    poses, size_wh = predictor.detect(encoded), encoded.size_wh
    prediction = make_prediction(poses, skeleton, size_wh, model_version=predictor.version)
    project = int(label_studio.create_project("Click-Pose", labelling_interface(skeleton))["id"])
    label_studio.add_local_files(project, str(stack.pictures))
    url = f"/data/local-files/?d={stack.pictures.name}/{scene.picture.name}"
    label_studio.import_tasks(
        project, [make_task(url, size_wh, file_name=scene.picture.name, predictions=[prediction])]
    )
    label_studio.connect_backend(project, stack.service_url, title="Click-Pose", user=USER, password=stack.secret)
    label_studio.show_predictions_of(project, predictor.version)
    return project


@contextmanager
def labelling_page(stack: Stack, project: int, browser: str) -> Iterator[Page]:
    """Log in, open the project's task and turn on what the editor needs to ask the service."""
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=browser, chromium_sandbox=False)) as program,
    ):
        page = program.new_page(viewport=WINDOW, device_scale_factor=2)
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{stack.server.url}/user/login/")
        page.fill("input[name=email]", stack.server.username)
        page.fill("input[name=password]", stack.server.password)
        page.click("button[type=submit]")
        page.wait_for_load_state()
        page.goto(f"{stack.server.url}/projects/{project}/data?labeling=1")
        page.wait_for_function(IS_SHOWN)
        for toggle in ("bottombar-auto-annotation-toggle", "bottombar-auto-accept-toggle"):
            page.get_by_test_id(toggle).locator("xpath=ancestor::label").click()
        page.mouse.click(*page.evaluate(TO_PAGE, [0.99, 0.99]))  # keys do nothing while a toggle has the focus
        page.wait_for_timeout(SETTLED_MS)
        yield page


def play(page: Page, scene: Scene, *, key: str) -> dict[str, Image.Image]:
    """Click once; return what was to be seen before, while the answer was on its way, and after it, by caption."""
    held_back: list[Route] = []
    page.route(ASKING, lambda route: held_back.append(route))
    around, before = clip_around(page, scene), page.evaluate(PLACES)
    page.keyboard.press("k")
    page.keyboard.press(key)
    panels = {"predicted": shoot(page, page.locator(".lsf-main-content").bounding_box())}
    page.keyboard.down("Control")
    with page.expect_request(ASKING):
        page.mouse.click(*page.evaluate(TO_PAGE, scene.click_xy))
    page.keyboard.up("Control")
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLED_MS)
    panels[f"one click: {scene.keypoint}"] = shoot(page, around)
    with page.expect_response(ASKING):
        held_back[0].continue_()
    page.wait_for_timeout(SETTLED_MS)
    after = page.evaluate(PLACES)
    paths = [(before[name], after[name]) for name in before if name in after]
    panels["the others followed"] = with_paths(shoot(page, around), paths, around)
    return panels


def with_paths(image: Image.Image, paths: list[tuple[Place, Place]], clip: FloatRect) -> Image.Image:
    """Draw the ways that keypoints went, given in pixels of the page."""
    scale, draw = image.width / clip["width"], ImageDraw.Draw(image)
    for path in paths:
        if math.dist(*path) > SEEN_PX:
            draw.line([(scale * (x - clip["x"]), scale * (y - clip["y"])) for x, y in path], "white", round(3 * scale))
    return image


def clip_around(page: Page, scene: Scene) -> FloatRect:
    """Return the part of the page that shows the person."""
    canvas = page.locator(".konvajs-content").bounding_box()
    assert canvas is not None
    x0, y0 = page.evaluate(TO_PAGE, scene.box_xyxy[:2])
    x1, y1 = page.evaluate(TO_PAGE, scene.box_xyxy[2:])
    half_height = (0.5 + MARGIN) * (y1 - y0)
    half_width = max((0.5 + MARGIN) * (x1 - x0), MIN_ASPECT * half_height)
    left, right = max(canvas["x"], (x0 + x1) / 2 - half_width), (x0 + x1) / 2 + half_width
    top, bottom = max(canvas["y"], (y0 + y1) / 2 - half_height), (y0 + y1) / 2 + half_height
    right, bottom = min(right, canvas["x"] + canvas["width"]), min(bottom, canvas["y"] + canvas["height"])
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


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
