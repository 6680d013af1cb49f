"""The poses that each annotator sees, so that edits build on each other.

With a click, the browser sends only the image, some keypoints that are on the screen right now (``Screen.fresh``) and
poses that were saved some seconds ago (``Screen.saved``). A session therefore keeps the states that were sent to the
browser, and continues from the newest one that agrees with the screen; so an undo is noticed.

Changes that the annotator made without a call are found by comparison: whatever the browser shows or has saved but was
never sent to it is new. A dragged keypoint stays where it is, a deleted person stays deleted. Saved poses that are
merely older than the answers change nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clickpose.annotations import Pose
from integrations.label_studio.service import Screen, SeenKeypoint, is_gap

TOLERANCE_PX = 0.5  # larger than the rounding of percent, smaller than any drag
NO_DISAGREEMENT = (0, 0, 0)

State: TypeAlias = tuple[Pose, ...]
History: TypeAlias = list[State]  # in the order in which they were last on the screen


class Sessions:
    """Histories by session; the least recently used session is removed first.

    Args:
        max_sessions: maximum number of sessions.
        max_states: maximum number of states per session, including undone ones.
    """

    def __init__(self, max_sessions: int = 1000, max_states: int = 50) -> None:
        self.max_sessions = max_sessions
        self.max_states = max_states
        self._histories: OrderedDict[str, History] = OrderedDict()

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self._histories)

    def recall(self, screen: Screen) -> State | None:
        """Return the poses that are on the screen, and continue the session from there.

        Persons keep their numbers. Held keypoints stay held and in place, unless the browser shows them elsewhere.
        None if neither this session nor the screen has any poses.
        """
        history = self._history_of(screen)
        base = _closest(history, screen)
        if base is None:
            return None
        state = _with_saved_work(base, history, screen.saved) if history else base
        state = _with_fresh(state, base, history, screen.fresh)
        self._keep(screen.session, history, state)
        return state

    def newest(self, session: str) -> State | None:
        """Return the newest state of a session, or None."""
        history = self._histories.get(session)
        return history[-1] if history else None

    def record(self, session: str, answer: Sequence[Pose]) -> None:
        """Store an answer as the session's newest state."""
        self._keep(session, self._histories.get(session, []), tuple(answer))

    def draft(self, screen: Screen) -> Sessions:
        """Return a copy of one session, to be changed and then adopted if everything succeeds."""
        draft = Sessions(2, self.max_states)
        known = {name: self._histories.get(name) for name in (screen.earlier_session, screen.session)}
        draft._histories.update({name: history for name, history in known.items() if history is not None})
        return draft

    def adopt(self, draft: Sessions, session: str) -> None:
        """Replace a session by its draft."""
        history = draft._histories[session]
        self._keep(session, history, history[-1])

    def clear(self) -> None:
        """Remove all sessions."""
        self._histories.clear()

    def _keep(self, session: str, history: History, newest: State) -> None:
        """Store a history, with one of its states moved to the end as the newest."""
        others = [state for state in history if state is not newest]
        self._histories[session] = [*others, newest][-self.max_states :]
        self._histories.move_to_end(session)
        while len(self._histories) > self.max_sessions:
            self._histories.popitem(last=False)

    def _history_of(self, screen: Screen) -> History:
        """Return the session's history, or the one from before its user was known if it agrees with the screen."""
        if (history := self._histories.get(screen.session)) is not None:
            return history
        earlier = self._histories.get(screen.earlier_session, [])
        agrees = any(_disagreements(state, screen.fresh) == NO_DISAGREEMENT for state in earlier)
        return earlier if agrees and screen.fresh else []


def _closest(history: History, screen: Screen) -> State | None:
    """Return the state that disagrees least with the screen, newest first; the saved poses come last."""
    saved = [tuple(screen.saved)] if screen.saved else []
    closest, fewest = None, None
    for state in [*reversed(history), *saved]:
        count = _disagreements(state, screen.fresh)
        if fewest is None or count < fewest:
            closest, fewest = state, count
        if count == NO_DISAGREEMENT:
            break
    return closest


def _disagreements(state: State, fresh: Sequence[SeenKeypoint]) -> tuple[int, int, int]:
    """Count fresh keypoints that a state has elsewhere, those whose ``held`` differs, and persons not on the screen."""
    there = [point for point in fresh if _shows(state, point)]
    differently_held = sum(bool(state[point.person].held[point.keypoint]) != point.held for point in there)
    return len(fresh) - len(there), differently_held, _num_unseen(state, fresh)


def _num_unseen(state: State, fresh: Sequence[SeenKeypoint]) -> int:
    """Count persons that are not on the screen although the same keypoints of others are."""
    persons, keypoints = {point.person for point in fresh}, sorted({point.keypoint for point in fresh})
    return sum(person not in persons and bool(pose.visibility[keypoints].any()) for person, pose in enumerate(state))


def _shows(state: State, point: SeenKeypoint) -> bool:
    """Return whether a state has a keypoint where the screen shows it."""
    if not 0 <= point.person < len(state):
        return False
    x, y = state[point.person].keypoints_px[point.keypoint]
    return bool(abs(x - point.xy_px[0]) <= TOLERANCE_PX and abs(y - point.xy_px[1]) <= TOLERANCE_PX)


def _with_fresh(state: State, base: State, history: History, fresh: Sequence[SeenKeypoint]) -> State:
    """Put keypoints where the screen shows them; one that was sent there gets back its exact coordinates."""
    poses, likeliest = list(state), [base, *reversed(history)]
    for point in fresh:
        if 0 <= point.person < len(poses) and not is_gap(poses[point.person]):
            sent = next((known[point.person] for known in likeliest if _shows(known, point)), None)
            poses[point.person] = _with_point(poses[point.person], point, sent)
    return _same_or(state, poses)


def _with_point(pose: Pose, point: SeenKeypoint, sent: Pose | None) -> Pose:
    """Put one keypoint where the screen shows it; one that was sent as held stays held."""
    if sent is None:
        return _place(pose, point.keypoint, point.xy_px, held=point.held, visibility=point.visibility)
    held = point.held or bool(sent.held[point.keypoint])
    return _place(pose, point.keypoint, sent.keypoints_px[point.keypoint], held=held, visibility=point.visibility)


def _with_saved_work(state: State, history: History, saved: Sequence[Pose]) -> State:
    """Apply what the annotator did without a call, as far as the saved poses show it."""
    poses = list(state)
    for person, pose in enumerate(saved):
        sent = [known[person] for known in history if person < len(known)]
        if person == len(poses) and not sent:
            poses.append(pose)
        elif person < len(poses) and is_gap(pose):
            poses[person] = poses[person] if any(is_gap(known) for known in sent) else pose
        elif person < len(poses) and not is_gap(poses[person]):
            for k in np.flatnonzero(pose.held & ~_was_held(pose, sent)):
                xy_px, visibility = pose.keypoints_px[k], int(pose.visibility[k])
                poses[person] = _place(poses[person], int(k), xy_px, held=True, visibility=visibility)
    return _same_or(state, poses)


def _was_held(pose: Pose, sent: Sequence[Pose]) -> NDArray[np.bool_]:
    """Return ``(K,)``, for the held keypoints: whether any sent state had it held, at this place, this visible."""
    was_held = np.zeros(len(pose.held), np.bool_)
    for known in reversed(sent):
        if was_held[pose.held].all():
            break
        moved_px = np.abs(known.keypoints_px - pose.keypoints_px).max(-1)
        was_held |= known.held & (known.visibility == pose.visibility) & (moved_px <= TOLERANCE_PX)
    return was_held


def _place(pose: Pose, k: int, xy_px: ArrayLike, *, held: bool, visibility: int) -> Pose:
    """Return the pose with one keypoint set; the same object if nothing changes."""
    same = np.array_equal(pose.keypoints_px[k], np.asarray(xy_px, np.float32))
    if same and pose.held[k] == held and pose.visibility[k] == visibility:
        return pose
    keypoints_px, visibilities = pose.keypoints_px.copy(), pose.visibility.copy()
    scores, holds = pose.scores.copy(), pose.held.copy()
    keypoints_px[k], visibilities[k], holds[k] = xy_px, visibility, held
    scores[k] = 1.0 if held else scores[k]
    return replace(pose, keypoints_px=keypoints_px, visibility=visibilities, scores=scores, held=holds)


def _same_or(state: State, poses: Sequence[Pose]) -> State:
    """Return the state itself if nothing changed: states are compared by identity."""
    unchanged = len(poses) == len(state) and all(one is other for one, other in zip(state, poses, strict=True))
    return state if unchanged else tuple(poses)
