"""What the front door remembers of each annotator's screen, so that a replica's end takes no keypoint along.

A replica keeps the states of its sessions (``sessions``), and drafts would bring them back after its end; but drafts
lag seconds behind the hand. So the front door keeps the latest answers of each session, too. With an edit it only
tells how many answers there were. A replica that knows fewer, because it is new or the picture was another one's for
a while, asks for the states and goes on from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clickpose.annotations import Pose
from clickpose.errors import ClickPoseError
from integrations.label_studio.service import Screen
from serve.sessions.sessions import Sessions, State

MAX_STATES = 16  # longer than any draft lags, even behind fast hands


class StatesMissing(ClickPoseError):
    """The replica knows less of a session than the front door; asked again with the states, it can answer."""


@dataclass(frozen=True)
class Backup:
    """What the front door knows of the session that an edit belongs to.

    Attributes:
        numbers: how many answers there were so far, by session.
        states: the latest of them, oldest first, by session; only for who asks.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, Sequence[State]] = field(default_factory=dict)


class Backups:
    """The latest answers of each session, as the front door saw them; the least recent session is forgotten first.

    Args:
        max_sessions: how many sessions are remembered.
        max_states: how many answers of a session are remembered.
    """

    def __init__(self, max_sessions: int, max_states: int = MAX_STATES) -> None:
        self.max_sessions = max_sessions
        self.max_states = max_states
        self._answers: OrderedDict[str, list[tuple[int, State]]] = OrderedDict()

    def record(self, screen: Screen, number: int, poses: Sequence[Pose]) -> None:
        """Remember the answer of a number; answers to edits that overlap may come in any order."""
        answers = [*self._answers.get(self._name(screen), ()), (number, tuple(poses))]
        self._answers[screen.session] = sorted(answers, key=lambda answer: answer[0])[-self.max_states :]
        self._answers.move_to_end(screen.session)
        while len(self._answers) > self.max_sessions:
            self._answers.popitem(last=False)

    def of(self, screen: Screen, *, with_states: bool = False) -> Backup:
        """Return what is known of a screen's session."""
        name = self._name(screen)
        answers = self._answers.get(name)
        if not answers:
            return Backup()
        states = {name: [state for _, state in answers]} if with_states else {}
        return Backup({name: answers[-1][0]}, states)

    def num_held(self) -> int:
        """Count the keypoints that humans placed, on all screens remembered."""
        return sum(int(pose.held.sum()) for answers in self._answers.values() for pose in answers[-1][1])

    def _name(self, screen: Screen) -> str:
        """Return the session's name, or the one it had before the user was known if nothing was answered since."""
        return screen.session if screen.session in self._answers else screen.earlier_session


class AnswerCounts:
    """How many answers of each session a replica knows of.

    Args:
        sessions: the replica's sessions, brought up to date where they are behind.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def catch_up(self, backup: Backup) -> None:
        """Make sure that every answer the front door has seen is known here.

        Raises:
            StatesMissing: some are not, and were not sent along.
        """
        for session, number in backup.numbers.items():
            if self.sessions.newest(session) is not None and self._numbers.get(session, 0) >= number:
                continue
            if session not in backup.states:
                raise StatesMissing(f"there were {number} answers, and not all of them are known here")
            for state in backup.states[session]:
                self.sessions.record(session, state)
            self._numbers[session] = number

    def advance(self, session: str, backup: Backup) -> int:
        """Count one more answer of a session, under this or an earlier name; return its number."""
        number = 1 + max(self._numbers.get(session, 0), *backup.numbers.values(), 0)
        self._numbers[session] = number
        self._numbers.move_to_end(session)
        while len(self._numbers) > self.sessions.max_sessions:
            self._numbers.popitem(last=False)
        return number
