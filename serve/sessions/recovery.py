"""Backups of sessions in the ingress, so that no keypoint is lost when a replica crashes.

A replica keeps its sessions in memory, and drafts restore them only up to some seconds before a crash. So the
ingress keeps the latest answers of each session until a draft stores them. With each edit it sends only the number of
answers so far. A replica that has fewer, because it is new or has taken over the image, requests the states and
continues from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clickpose.annotations import Pose
from clickpose.errors import ClickPoseError
from integrations.label_studio.service import Screen
from serve.sessions.sessions import Sessions, State

MAX_STATES = 16  # more than any annotator clicks between two drafts


class StatesMissing(ClickPoseError):
    """The replica has fewer answers of a session than the ingress; repeat the call with the states."""


@dataclass(frozen=True)
class Backup:
    """What the ingress knows about the session of an edit.

    Attributes:
        numbers: number of answers so far, by session.
        states: the latest answers, oldest first, by session; empty unless the replica requested them.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, Sequence[State]] = field(default_factory=dict)


class Backups:
    """The latest answers of each session; the least recently used session is removed first.

    Args:
        max_sessions: maximum number of sessions.
        max_states: maximum number of answers per session.
    """

    def __init__(self, max_sessions: int, max_states: int = MAX_STATES) -> None:
        self.max_sessions = max_sessions
        self.max_states = max_states
        self._answers: OrderedDict[str, list[tuple[int, State]]] = OrderedDict()

    def record(self, screen: Screen, number: int, poses: Sequence[Pose]) -> None:
        """Store the answer with this number; answers to overlapping edits may arrive in any order."""
        answers = [*self._answers.get(self._name(screen), ()), (number, tuple(poses))]
        self._answers[screen.session] = sorted(answers, key=lambda answer: answer[0])[-self.max_states :]
        self._answers.move_to_end(screen.session)
        while len(self._answers) > self.max_sessions:
            self._answers.popitem(last=False)

    def of(self, screen: Screen, *, with_states: bool = False) -> Backup:
        """Return the backup of a screen's session."""
        name = self._name(screen)
        answers = self._answers.get(name)
        if not answers:
            return Backup()
        states = {name: [state for _, state in answers]} if with_states else {}
        return Backup({name: answers[-1][0]}, states)

    def num_held(self) -> int:
        """Count the keypoints that humans placed, in all sessions."""
        return sum(int(pose.held.sum()) for answers in self._answers.values() for pose in answers[-1][1])

    def _name(self, screen: Screen) -> str:
        """Return the session's name, or its name from before the user was known if it has no answers yet."""
        return screen.session if screen.session in self._answers else screen.earlier_session


class AnswerCounts:
    """Number of answers of each session that a replica has.

    Args:
        sessions: the replica's sessions; they are updated from backups.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def catch_up(self, backup: Backup) -> None:
        """Restore answers that the ingress has and this replica lacks.

        Raises:
            StatesMissing: answers are missing, and the backup does not contain them.
        """
        for session, number in backup.numbers.items():
            if self.sessions.newest(session) is not None and self._numbers.get(session, 0) >= number:
                continue
            if session not in backup.states:
                raise StatesMissing(f"this replica does not have all {number} answers of the session")
            for state in backup.states[session]:
                self.sessions.record(session, state)
            self._numbers[session] = number

    def advance(self, session: str, backup: Backup) -> int:
        """Count one more answer of a session, under its current or earlier name; return its number."""
        number = 1 + max(self._numbers.get(session, 0), *backup.numbers.values(), 0)
        self._numbers[session] = number
        self._numbers.move_to_end(session)
        while len(self._numbers) > self.sessions.max_sessions:
            self._numbers.popitem(last=False)
        return number
