"""A person as a unit in the real Label Studio: focus, keys, what is seen, and what the model is told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from integrations.label_studio.export import read_annotation
from tests.integrations.follower import SKELETON, Place
from tests.integrations.labelling_page import ANNOTATION, DRAWN_AT, HELD, HISTORY, IMAGE, SUBMIT, TO_PAGE, TOOL, Editor

pytestmark = pytest.mark.cluster

SELECTED = f"() => {ANNOTATION}.selectedRegions.map(region => region.cleanId)"
LABELS = f"() => {ANNOTATION}.regions.map(region => [region.cleanId, region.labelName])"
SHOWN = """() => {
    const corners = css => { const r = document.querySelector(css).getBoundingClientRect(); return [r.top, r.bottom] }
    return {picture: corners('.konvajs-content'), row: corners('.lsf-choices'), bar: corners('.lsf-bottombar')}
}"""
IS_FITTED = f"""() => {{ const {{zoomScale, stageWidth, stageHeight, containerWidth, containerHeight}} = {IMAGE}
    return zoomScale < 1.001 && (containerWidth - stageWidth < 1 || containerHeight - stageHeight < 1) }}"""
LEAST_SURE = ["right_ankle", "left_ankle", "right_knee"]  # of the follower's people


def test_an_opened_task_is_ready_to_work_on(editor: Editor) -> None:
    assert editor.page.evaluate("() => [window.Htx.autoAnnotation, window.Htx.autoAcceptSuggestions]") == [True, True]
    assert editor.page.evaluate("() => document.activeElement === document.body")
    assert editor.page.evaluate(TOOL) == "MoveTool"
    editor.press("0")  # left wrist: the very first key works
    x, y = at(editor, "p1_left_wrist")
    ctrl_click(editor, (x - 30, y - 30))
    editor.page.wait_for_function(f"() => ({HELD})().length")
    assert editor.page.evaluate(HELD) == ["p1_left_wrist"]
    assert editor.page.evaluate(TOOL) == "MoveTool"


@pytest.mark.parametrize("size", [(1360, 1000), (1200, 620)], ids=["large", "small"])
def test_the_image_is_whole_and_never_moves(editor: Editor, size: tuple[int, int]) -> None:
    before = editor.page.viewport_size
    editor.page.set_viewport_size({"width": size[0], "height": size[1]})
    try:
        editor.page.wait_for_function(IS_FITTED)
        editor.page.wait_for_timeout(1000)
        shown = editor.page.evaluate(SHOWN)
        assert shown["picture"][1] <= shown["bar"][0]
        assert shown["row"][1] - shown["row"][0] > 10
        editor.press("Tab")
        assert editor.page.evaluate(SHOWN) == shown
        assert editor.page.evaluate(IS_FITTED)
    finally:
        editor.page.set_viewport_size(before)


def test_a_click_puts_a_person_in_focus_and_h_hides_the_others(editor: Editor) -> None:
    thighs = [middle(editor, "p0_right_hip", "p0_right_knee"), middle(editor, "p1_right_hip", "p1_right_knee")]
    colours = [editor.page.evaluate(DRAWN_AT, thigh) for thigh in thighs]
    assert colours[0] != colours[1] and colours[0][3] == colours[1][3] == 255
    assert "2 persons" in editor.panel()

    editor.page.mouse.click(*editor.page.evaluate(TO_PAGE, middle(editor, "p1_left_hip", "p1_right_shoulder")))
    editor.page.wait_for_timeout(500)
    assert "person 2 of 2" in editor.panel()
    assert editor.page.evaluate(DRAWN_AT, thighs[0])[3] < 128
    assert editor.page.evaluate(DRAWN_AT, thighs[1])[3] == 255
    editor.press("h")
    assert editor.page.evaluate(DRAWN_AT, thighs[0])[3] == 0
    editor.press("h")
    assert editor.page.evaluate(DRAWN_AT, thighs[0])[3] > 0

    editor.page.mouse.click(*at(editor, "p0_nose"))
    editor.page.wait_for_timeout(500)
    assert "person 1 of 2" in editor.panel()
    editor.press("Escape")
    assert "person 1 of 2" in editor.panel() and editor.page.evaluate(SELECTED) == []
    editor.press("Escape")
    assert "2 persons" in editor.panel()
    editor.press("Tab")
    assert "person 1 of 2" in editor.panel()
    editor.page.mouse.click(*editor.page.evaluate(TO_PAGE, middle(editor, "p1_left_hip", "p1_right_shoulder")))
    editor.page.wait_for_timeout(500)
    assert "person 2 of 2" in editor.panel() and editor.page.evaluate(SELECTED) == []
    editor.page.mouse.click(*editor.page.evaluate(TO_PAGE, middle(editor, "p0_left_hip", "p0_right_shoulder")))
    editor.page.wait_for_timeout(500)
    assert "person 1 of 2" in editor.panel() and editor.page.evaluate(TOOL) == "MoveTool"
    assert editor.page.evaluate(HISTORY) == [0, 1]


def test_what_is_unsure_is_translucent_and_what_is_occluded_hollow(editor: Editor) -> None:
    places = editor.places()
    opacities = [editor.page.evaluate(DRAWN_AT, places[f"p0_{name}"])[3] for name in ("nose", *LEAST_SURE)]
    assert opacities[0] > 230 > opacities[3] > opacities[2] > opacities[1] > 100
    assert editor.page.evaluate(DRAWN_AT, places["p0_left_ear"])[3] == 0


def test_tab_goes_to_the_least_sure_and_keys_move_on_without_renaming(editor: Editor) -> None:
    labels = editor.page.evaluate(LABELS)
    for name in LEAST_SURE:
        editor.press("Tab")
        assert editor.page.evaluate(SELECTED) == [f"p0_{name}"]
    editor.press("0")
    assert editor.page.evaluate(SELECTED) == ["p0_left_wrist"]
    editor.page.locator(".lsf-label", has_text="right_knee").click()
    editor.page.wait_for_timeout(400)
    assert editor.page.evaluate(SELECTED) == ["p0_right_knee"]
    editor.press("Shift+Tab")
    assert editor.page.evaluate(SELECTED) == ["p1_right_ankle"]
    editor.press("1")
    assert editor.page.evaluate(SELECTED) == ["p1_nose"]
    assert editor.page.evaluate(LABELS) == labels and editor.page.evaluate(HISTORY) == [0, 1]


def test_a_key_and_a_ctrl_click_place_a_keypoint_of_the_person_in_focus(editor: Editor) -> None:
    start = editor.places()
    editor.press("Tab")
    editor.press("0")
    ctrl_click(editor, at(editor, "p1_left_wrist"))  # nearer to the other person's
    editor.settle()
    assert editor.moved_since(start) == {name for name in start if name.startswith("p0_")}
    assert editor.places()["p0_left_wrist"] == pytest.approx(start["p1_left_wrist"], abs=0.2)
    assert editor.page.evaluate(HELD) == ["p0_left_wrist"] and editor.page.evaluate(SELECTED) == ["p0_left_wrist"]
    editor.press("Control+z")
    assert editor.places() == start


def test_the_visibility_keys_are_about_the_point_that_was_dragged(editor: Editor) -> None:
    editor.drag("p1_left_knee")
    editor.settle()
    editor.press("x")
    assert visibilities(editor)["p1_left_knee"] == ["occluded"]
    editor.press("c")
    assert visibilities(editor)["p1_left_knee"] == ["absent"]
    editor.press("Escape")
    editor.press("x")
    assert visibilities(editor)["p1_left_knee"] == ["absent"]


@pytest.mark.parametrize("how", ["with the key", "by deleting the box"])
def test_a_person_is_deleted_as_a_whole_in_one_step(editor: Editor, how: str) -> None:
    start = editor.places()
    if how == "with the key":
        editor.page.mouse.click(*at(editor, "p0_nose"))
        editor.page.wait_for_timeout(500)
        editor.press("Delete")
    else:
        editor.page.evaluate(f"() => {ANNOTATION}.regions.find(region => region.cleanId === 'p0').deleteRegion()")
        editor.page.wait_for_timeout(500)
    assert set(editor.places()) == {name for name in start if name.startswith("p1")}
    assert editor.page.evaluate(HISTORY) == [1, 2]
    editor.press("Control+z")
    assert editor.places() == start
    editor.press("Control+Shift+z")
    with editor.page.expect_response("**/annotations*"):
        editor.page.click(SUBMIT)
    record = editor.client.task(int(editor.page.evaluate("() => window.Htx.task.id")))
    found = read_annotation(record, record["annotations"][0], SKELETON)
    assert len(found.image.persons) == 1 and not found.flagged


def test_enter_accepts_one_after_the_other_and_then_submits(editor: Editor) -> None:
    task = int(editor.page.evaluate("() => window.Htx.task.id"))
    editor.page.evaluate("() => localStorage.clear()")  # of earlier images
    editor.open(task)
    editor.drag("p0_nose")
    editor.settle()
    editor.press("Enter")
    assert "person 2 of 2, 1 accepted" in editor.panel()
    editor.press("Enter")
    assert "all accepted: Enter submits" in editor.panel()
    assert editor.client.task(task)["annotations"] == []
    with editor.page.expect_response("**/annotations*"):
        editor.press("Enter")
    editor.page.wait_for_timeout(1000)
    (annotation,) = editor.client.task(task)["annotations"]
    boxes = [item for item in annotation["result"] if item["type"] == "rectanglelabels"]
    assert [box["meta"]["accepted"] for box in boxes] == [True, True]
    assert re.search(
        r"\d+ of \d+ images done · \d+\.\d min per image · 0\.5 clicks per person · follower-1", editor.panel()
    )


def test_the_model_is_told_who_is_in_focus(editor: Editor) -> None:
    with questions(editor) as asked:
        editor.press("0")
        x, y = at(editor, "p1_left_wrist")
        ctrl_click(editor, (x + 5, y + 5))
        editor.page.wait_for_function(f"() => ({HELD})().length")
        editor.page.wait_for_timeout(500)
        assert "person 2 of 2" in editor.panel()
        editor.page.mouse.click(*at(editor, "p0_nose"))
        editor.page.wait_for_timeout(400)
        editor.press("Backspace")  # the point alone
        editor.press("1")
        ctrl_click(editor, at(editor, "p1_nose"))
        editor.page.wait_for_timeout(1500)
        editor.drag("p1_left_knee")
        editor.settle()
    assert [question.get("focus") for question in asked] == [None, 0, 1]


def test_the_name_of_a_keypoint_stands_beside_the_mouse(editor: Editor) -> None:
    editor.page.mouse.move(*at(editor, "p1_right_hip"))
    editor.page.wait_for_timeout(200)
    assert editor.page.inner_text("#clickpose-name") == "right_hip"
    editor.page.mouse.move(*editor.page.evaluate(TO_PAGE, [1, 1]))
    editor.page.wait_for_timeout(200)
    assert editor.page.locator("#clickpose-name").count() == 0
    editor.press("Tab")
    assert editor.page.inner_text("#clickpose-name") == LEAST_SURE[0]


def at(editor: Editor, region: str) -> Place:
    """Return where a point is in the window."""
    x, y = editor.page.evaluate(TO_PAGE, editor.places()[region])
    return x, y


def middle(editor: Editor, one: str, other: str) -> Place:
    (x0, y0), (x1, y1) = editor.places()[one], editor.places()[other]
    return (x0 + x1) / 2, (y0 + y1) / 2


def ctrl_click(editor: Editor, place: Place) -> None:
    editor.page.keyboard.down("Control")
    editor.page.mouse.click(*place)
    editor.page.keyboard.up("Control")


def visibilities(editor: Editor) -> dict[str, list[str]]:
    result = editor.page.evaluate(f"() => {ANNOTATION}.serializeAnnotation()")
    return {item["id"]: item["value"]["choices"] for item in result if item["type"] == "choices"}


@contextmanager
def questions(editor: Editor) -> Iterator[list[dict[str, Any]]]:
    """Collect the contexts in which the model is asked."""
    asked: list[dict[str, Any]] = []

    def notice(request: Any) -> None:
        if "interactive-annotating" in request.url:
            asked.append(json.loads(request.post_data)["context"])

    editor.page.on("request", notice)
    yield asked
    editor.page.remove_listener("request", notice)
