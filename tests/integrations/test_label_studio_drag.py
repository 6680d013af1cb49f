"""Points dragged in the real Label Studio, in a real browser, through the proxy and its page script."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from clickpose.errors import NotReady
from integrations.label_studio.export import read_annotation
from tests.integrations.follower import SKELETON
from tests.integrations.labelling_page import (
    ANNOTATION,
    DRAWN_AT,
    HELD,
    HISTORY,
    IMAGE,
    IS_OPEN,
    IS_SETTLED,
    LAYERS,
    SUBMIT,
    TO_PAGE,
    Editor,
)

pytestmark = pytest.mark.cluster

SLOW_S = 3.0  # an answer so late that a hand can do something else before it comes


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
    assert editor.page.evaluate(DRAWN_AT, thigh) == [191, 90, 242, 255]
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
        editor.page.click(SUBMIT)

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
    editor.move_on_to(editor.new_task())
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
    editor.type_in_side_panel("ArrowUp", times=3)
    editor.page.wait_for_function(f"() => ({HELD})().length")
    editor.settle()
    assert editor.moved_since(start) == of_person(1)
    assert editor.places()["p1_left_knee"][0] == pytest.approx(start["p1_left_knee"][0] + 3)
    assert editor.page.evaluate(HELD) == ["p1_left_knee"]


def test_late_answer_waits_for_what_is_typed_and_overwrites_none_of_it(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start = editor.places()
    editor.drag("p1_nose")
    editor.select("p1_left_knee")
    for key in itertools.cycle(("ArrowUp", "ArrowDown")):  # there and back, so as not to leave the image
        if editor.service.answers:
            break
        editor.type_in_side_panel(key)
    editor.type_in_side_panel("ArrowUp")
    assert editor.moved_since(start) == {"p1_nose", "p1_left_knee"}
    typed = editor.places()["p1_left_knee"]
    editor.page.evaluate(f"() => {ANNOTATION}.unselectAll()")  # what is typed is held nevertheless
    editor.page.wait_for_function(f"() => ({HELD})().length === 2")
    editor.settle()
    assert editor.moved_since(start) == of_person(1)
    assert editor.places()["p1_left_knee"] == typed
    assert sorted(editor.page.evaluate(HELD)) == ["p1_left_knee", "p1_nose"]


def test_late_answer_leaves_a_person_accepted_who_was_accepted_meanwhile(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start = editor.places()
    editor.drag("p0_nose")
    editor.press("Enter")
    assert "1 accepted" in editor.panel() and editor.moved_since(start) == {"p0_nose"}
    editor.settle()
    assert "1 accepted" in editor.panel() and editor.moved_since(start) == of_person(0)
    editor.press("Control+z")
    assert "0 accepted" in editor.panel() and editor.moved_since(start) == of_person(0)


def test_late_answer_does_not_bring_back_who_was_deleted_meanwhile(editor: Editor) -> None:
    editor.service.delay_s = SLOW_S
    start = editor.places()
    editor.drag("p0_nose")
    dropped = editor.places()
    editor.press("Delete")
    editor.settle()
    assert set(editor.places()) == {name for name in start if name.startswith("p1")}
    assert not {name for name in editor.moved_since(start) if name.startswith("p1")}
    editor.press("Control+z")
    assert editor.places() == dropped
    editor.press("Control+z")
    assert editor.places() == start


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
        editor.page.click(SUBMIT)
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
    assert "nobody is there" in editor.panel()
    assert [line for line in editor.said if "nobody is there" in line]

    editor.service.failure = None
    editor.drag("p0_left_wrist")
    editor.settle()
    assert editor.moved_since(start) == of_person(0)
    assert "no answer" not in editor.panel()


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


def test_off_where_something_is_missing_and_says_what(desk: Editor) -> None:
    def change(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"safeUnfreeze",', '"safeUnfreeze", "thaw",'))

    desk.said.clear()
    desk.service.edits.clear()
    desk.page.route("**/__clickpose__/editor.js", change)
    try:
        desk.open(desk.new_task(), with_script=False)
        start = desk.places()
        desk.page.wait_for_timeout(1000)
        assert desk.panel() == "Click-Pose: off: this Label Studio lacks history"
        desk.press("v")
        desk.drag("p0_nose")
        desk.page.wait_for_timeout(1000)
        assert desk.moved_since(start) == {"p0_nose"}
        assert desk.page.evaluate(LAYERS) == 0 and desk.service.edits == []
        (line,) = desk.said
        assert "lacks history" in line
    finally:
        desk.page.unroute("**/__clickpose__/editor.js")
        desk.page.evaluate("() => localStorage.clear()")  # of the tool


def task_of(editor: Editor) -> int:
    return int(editor.page.evaluate("() => window.Htx.task.id"))


def by_id(result: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(region["id"], region["type"]): region for region in result}
