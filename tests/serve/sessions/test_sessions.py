"""Sessions find out what is on an annotator's screen."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickpose.annotations import Pose
from integrations.label_studio.service import KeypointEdit, PersonEdit, Screen, SeenKeypoint, gap, is_gap
from serve.replica.edits import apply_edit
from serve.sessions.sessions import TOLERANCE_PX, Sessions

MakePose = Callable[..., Pose]
SIZE_WH = (100_000, 400)


def seen(poses: Sequence[Pose], keypoints: Sequence[int]) -> list[SeenKeypoint]:
    return [
        SeenKeypoint(
            p,
            k,
            (float(pose.keypoints_px[k, 0]), float(pose.keypoints_px[k, 1])),
            int(pose.visibility[k]),
            pose.held[k],
        )
        for p, pose in enumerate(poses)
        for k in keypoints
        if not is_gap(pose)
    ]


def place(pose: Pose, k: int, xy_px: tuple[float, float]) -> Pose:
    keypoints_px, held = pose.keypoints_px.copy(), pose.held.copy()
    keypoints_px[k], held[k] = xy_px, True
    return replace(pose, keypoints_px=keypoints_px, held=held)


@dataclass
class Browser:
    """An annotator's browser: it shows answers, drags, undoes, and saves drafts from time to time."""

    shown: list[Pose]
    predictor: Any
    draft: list[Pose] = field(default_factory=list)
    undo_stack: list[list[Pose]] = field(default_factory=list)
    redo_stack: list[list[Pose]] = field(default_factory=list)

    def screen(self, keypoints: Sequence[int]) -> Screen:
        return Screen("session", "one.png", tuple(self.draft), tuple(seen(self.shown, keypoints)))

    def show(self, poses: Sequence[Pose]) -> None:
        self.undo_stack.append(self.shown)
        self.redo_stack.clear()
        self.shown = list(poses)

    def click(self, sessions: Sessions, edit: KeypointEdit | PersonEdit, keypoints: Sequence[int]) -> list[Pose]:
        """Send an edit and show its answer; return the poses that the service assumed to be on the screen."""
        recalled = sessions.recall(self.screen(keypoints))
        assert recalled is not None
        answer, _ = apply_edit(self.predictor, FakeEncoded(), recalled, edit)
        sessions.record("session", answer)
        self.show(answer)
        return list(recalled)

    def drag(self, person: int, k: int, xy_px: tuple[float, float]) -> None:
        self.show([place(pose, k, xy_px) if p == person else pose for p, pose in enumerate(self.shown)])

    def undo(self) -> None:
        if self.undo_stack:
            self.redo_stack.append(self.shown)
            self.shown = self.undo_stack.pop()

    def redo(self) -> None:
        if self.redo_stack:
            self.undo_stack.append(self.shown)
            self.shown = self.redo_stack.pop()

    def save(self) -> None:
        self.draft = list(self.shown)


@dataclass(frozen=True)
class FakeEncoded:
    size_wh: tuple[int, int] = SIZE_WH


@pytest.fixture(scope="session")
def open_browser(make_pose: MakePose, predictor: Any) -> Callable[[], Browser]:
    def build() -> Browser:
        prediction = [make_pose(10, 10), make_pose(100, 50), make_pose(20, 200)]
        return Browser(list(prediction), predictor, draft=list(prediction))

    return build


def assert_same(recalled: Sequence[Pose], shown: Sequence[Pose]) -> None:
    """Recalled and shown poses agree to half a pixel and in visibility, and held keypoints are still held."""
    assert len(recalled) == len(shown)
    for one, other in zip(recalled, shown, strict=True):
        assert is_gap(one) == is_gap(other)
        np.testing.assert_allclose(one.keypoints_px, other.keypoints_px, atol=TOLERANCE_PX)
        assert (one.held | ~other.held).all()
        np.testing.assert_array_equal(one.visibility, other.visibility)


coordinates = st.integers(0, 399).map(float)
places = st.tuples(st.integers(0, 2), st.integers(0, 4), coordinates, coordinates)
clicks = st.tuples(st.just("click"), places)
drags = st.tuples(st.just("drag"), places)
others = st.tuples(st.sampled_from(["save", "undo", "redo", "forget"]), st.just((0, 0, 0.0, 0.0)))


@settings(max_examples=150, deadline=None)
@given(actions=st.lists(clicks | drags | others, max_size=25), max_states=st.integers(2, 50))
def test_an_edit_continues_from_the_screen_if_all_keypoints_are_known(
    open_browser: Callable[[], Browser], actions: list[Any], max_states: int
) -> None:
    browser, sessions, everything = open_browser(), Sessions(max_states=max_states), range(5)
    for action, (person, k, x, y) in actions:
        match action:
            case "click":
                shown = browser.shown
                assert_same(browser.click(sessions, KeypointEdit(k, (x, y), 2, person), everything), shown)
            case "drag":
                browser.drag(person, k, (x, y))
            case "forget":
                sessions.clear()
            case _:
                getattr(browser, action)()


@settings(max_examples=150, deadline=None)
@given(actions=st.lists(clicks | drags, max_size=25), saves=st.lists(st.booleans(), min_size=25, max_size=25))
def test_nothing_saved_is_lost_if_only_one_keypoint_per_person_is_known(
    open_browser: Callable[[], Browser], actions: list[Any], saves: list[bool]
) -> None:
    browser, sessions = open_browser(), Sessions()
    for step, ((action, (person, k, x, y)), save) in enumerate(zip(actions, saves, strict=False)):
        x += 1000 * step  # a keypoint placed where it once was looks like one from an old draft
        if action == "click":
            shown = browser.shown
            assert_same(browser.click(sessions, KeypointEdit(k, (x, y), 2, person), [k]), shown)
        else:
            browser.drag(person, k, (x, y))
            browser.save()
        if save:
            browser.save()


@settings(max_examples=100, deadline=None)
@given(actions=st.lists(clicks, min_size=1, max_size=20))
def test_a_click_never_moves_placed_keypoints(open_browser: Callable[[], Browser], actions: list[Any]) -> None:
    browser, sessions = open_browser(), Sessions()
    placed: dict[tuple[int, int], tuple[float, float]] = {}
    for _, (person, k, x, y) in actions:
        browser.click(sessions, KeypointEdit(k, (x, y), 2, person), [k])
        placed[person, k] = (x, y)
        assert all(tuple(browser.shown[p].keypoints_px[j]) == xy for (p, j), xy in placed.items())


def test_an_undo_is_noticed(open_browser: Callable[[], Browser]) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.click(sessions, KeypointEdit(1, (5.0, 5.0), 2, 0), [1])
    browser.undo()
    browser.click(sessions, KeypointEdit(2, (70.0, 70.0), 2, 0), [2])
    assert list(np.flatnonzero(browser.shown[0].held)) == [2]


def test_an_earlier_undo_stays_undone(open_browser: Callable[[], Browser]) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.predictor = replace(browser.predictor, step_px=0.0)  # a click moves nothing else that would reveal it
    for k in (1, 2):
        browser.click(sessions, KeypointEdit(k, (5.0, 5.0), 2, 0), range(5))
        browser.undo()
    browser.click(sessions, KeypointEdit(3, (70.0, 70.0), 2, 0), [3, 2])
    assert list(np.flatnonzero(browser.shown[0].held)) == [3]


def test_an_old_draft_does_not_bring_back_what_was_undone(open_browser: Callable[[], Browser]) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.click(sessions, KeypointEdit(1, (5.0, 5.0), 2, 0), [1])
    browser.save()
    browser.undo()
    for x in (70.0, 80.0):
        browser.click(sessions, KeypointEdit(2, (x, x), 2, 0), [2])
    assert list(np.flatnonzero(browser.shown[0].held)) == [2]


def test_holding_a_keypoint_without_moving_it_can_be_undone(open_browser: Callable[[], Browser]) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.predictor = replace(browser.predictor, step_px=0.0)
    x, y = browser.shown[0].keypoints_px[1].tolist()
    browser.click(sessions, KeypointEdit(1, (x, y), 2, 0), [1])
    browser.undo()
    browser.click(sessions, KeypointEdit(2, (70.0, 70.0), 2, 0), [1, 2])
    assert list(np.flatnonzero(browser.shown[0].held)) == [2]


@pytest.mark.parametrize("seen_keypoints", [[2], []])
def test_a_person_deleted_on_the_screen_does_not_come_back(
    open_browser: Callable[[], Browser], seen_keypoints: list[int]
) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.click(sessions, KeypointEdit(1, (5.0, 5.0), 2, 0), [1])
    browser.show([browser.shown[0], gap(5), browser.shown[2]])
    browser.save()
    browser.click(sessions, KeypointEdit(2, (9.0, 9.0), 2, 0), seen_keypoints)
    assert [is_gap(pose) for pose in browser.shown] == [False, True, False]


def test_a_person_drawn_by_hand_is_kept(open_browser: Callable[[], Browser], make_pose: MakePose) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.click(sessions, KeypointEdit(1, (5.0, 5.0), 2, 0), [1])
    browser.show([*browser.shown, make_pose(300, 300, held=range(5))])
    browser.save()
    browser.click(sessions, KeypointEdit(2, (9.0, 9.0), 2, 0), [2])
    assert len(browser.shown) == 4 and browser.shown[3].held.all()


def test_an_added_person_that_was_undone_is_gone(open_browser: Callable[[], Browser]) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.click(sessions, PersonEdit(np.array([200, 200, 260, 260], np.float32)), range(5))
    browser.save()
    browser.undo()
    browser.click(sessions, KeypointEdit(2, (9.0, 9.0), 2, 0), range(5))
    assert len(browser.shown) == 3


def test_no_known_poses_and_no_persons_are_different() -> None:
    sessions = Sessions()
    assert sessions.recall(Screen("session", "one.png")) is None
    sessions.record("session", [])
    assert sessions.recall(Screen("session", "one.png")) == ()


def test_clicks_from_before_the_user_is_known_are_kept(open_browser: Callable[[], Browser]) -> None:
    browser, sessions = open_browser(), Sessions()
    browser.click(sessions, KeypointEdit(1, (5.0, 5.0), 2, 0), [1])
    later = replace(browser.screen([1]), session="ann", earlier_session="session")
    stranger = Screen("bob", "one.png", tuple(browser.draft), tuple(seen(browser.draft, [1])), "session")
    assert sessions.recall(later)[0].held[1]  # type: ignore[index]
    assert not sessions.recall(stranger)[0].held.any()  # type: ignore[index]
    assert not sessions.recall(replace(stranger, session="eve", fresh=()))[0].held.any()  # type: ignore[index]


def test_memory_is_bounded(make_pose: MakePose) -> None:
    sessions, recorded = Sessions(max_sessions=3, max_states=4), []
    for number in range(10):
        for _ in range(10):
            pose = make_pose()
            recorded.append(weakref.ref(pose))
            sessions.record(f"session {number}", [pose])
    del pose
    assert len(sessions) == 3
    assert sum(pose() is not None for pose in recorded) == 3 * 4
    assert sessions.recall(Screen("session 0", "one.png")) is None
