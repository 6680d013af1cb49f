"""Backups of sessions in the ingresses, so that no keypoint is lost when any process crashes.

A replica keeps its sessions in memory, and drafts restore them only up to some seconds before a crash. So each ingress
keeps the latest answers that passed through it. A replica that does not hold a session, because it is new or has taken
over the image, requests the answers of all ingresses, which learn in this way that it holds the session from now on.

A machine may die with all its processes. So an ingress that runs on the replica's machine gives a copy of the answer to
the other ingresses before it answers, if any of them runs on another machine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from clickpose.annotations import Pose
from clickpose.errors import ClickPoseError
from integrations.label_studio.service import Screen
from serve.sessions.sessions import Sessions, State

MAX_STATES = 16  # more than any annotator clicks between two drafts


class StatesMissing(ClickPoseError):
    """The replica does not hold the session; repeat the call with the answers of all ingresses.

    Attributes:
        replica: name of the replica, which will hold the session.
    """

    def __init__(self, replica: str) -> None:
        super().__init__(replica)
        self.replica = replica


@dataclass(frozen=True)
class Backup:
    """What is known about the session of an edit.

    Attributes:
        session: name under which the session's answers are stored.
        holder: name of the replica that holds the session; empty if unknown.
        states: the latest answers by number; None if there are none, or if the replica has to request them.
    """

    session: str
    holder: str = ""
    states: Mapping[int, State] | None = None


def merge(backups: Sequence[Backup], session: str) -> Backup:
    """Return what all ingresses together know; answers under the session's current name come first."""
    known = [backup for backup in backups if backup.states]
    known = [backup for backup in known if backup.session == session] or known or list(backups)
    states = {number: state for backup in known for number, state in (backup.states or {}).items()}
    return replace(known[0], states=dict(sorted(states.items())))


class Backups:
    """The latest answers of each session; the least recently used session is removed first.

    Args:
        max_sessions: maximum number of sessions.
        max_states: maximum number of answers per session.
        complete: whether all answers pass through this ingress, so that what it does not know does not exist.
    """

    def __init__(self, max_sessions: int, max_states: int = MAX_STATES, *, complete: bool = True) -> None:
        self.max_sessions = max_sessions
        self.max_states = max_states
        self.complete = complete
        self._backups: OrderedDict[str, Backup] = OrderedDict()

    def record(self, screen: Screen, number: int, poses: Sequence[Pose]) -> None:
        """Store the answer with this number; answers to overlapping edits may arrive in any order."""
        earlier = self._find(screen)
        states = sorted({**(earlier.states or {}), number: tuple(poses)}.items())
        self._keep(Backup(screen.session, earlier.holder, dict(states[-self.max_states :])))

    def of(self, screen: Screen) -> Backup:
        """Return what a replica that holds a screen's session needs."""
        found = self._find(screen)
        is_new = found.states is None and not found.holder
        return replace(found, states={} if is_new and self.complete else None)

    def hand_over(self, screen: Screen, holder: str) -> Backup:
        """Return all answers of a screen's session for the replica that holds it from now on."""
        found = replace(self._find(screen), holder=holder)
        self._keep(found)
        return found

    def num_held(self) -> int:
        """Count the keypoints that humans placed, in all sessions."""
        newest = [backup.states[max(backup.states)] for backup in self._backups.values() if backup.states]
        return sum(int(pose.held.sum()) for state in newest for pose in state)

    def _keep(self, backup: Backup) -> None:
        self._backups[backup.session] = backup
        self._backups.move_to_end(backup.session)
        while len(self._backups) > self.max_sessions:
            self._backups.popitem(last=False)

    def _find(self, screen: Screen) -> Backup:
        """Return the session's backup, or the one from before its user was known."""
        names = (screen.session, screen.earlier_session)
        return next((self._backups[name] for name in names if name in self._backups), Backup(screen.session))


class Holdings:
    """The sessions that a replica holds, and how many answers each has had.

    Args:
        sessions: the replica's sessions; they are updated from backups.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.replica = token_hex(8)
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def catch_up(self, screen: Screen, backup: Backup) -> None:
        """Take over a session that another replica held, or that has answers but is not known here.

        Raises:
            StatesMissing: the answers are required, and the backup does not contain them.
        """
        names = (screen.session, screen.earlier_session)
        is_known = any(self.sessions.newest(name) is not None for name in names)
        if backup.states is None and not (is_known and backup.holder in ("", self.replica)):
            raise StatesMissing(self.replica)
        states = backup.states or {}
        if max(states, default=0) > self._numbers.get(backup.session, 0):
            for number in sorted(states):
                self.sessions.record(backup.session, states[number])
                self._numbers[backup.session] = number

    def advance(self, screen: Screen) -> int:
        """Count one more answer of a session; return its number."""
        number = 1 + max(self._numbers.get(name, 0) for name in (screen.session, screen.earlier_session))
        self._numbers[screen.session] = number
        self._numbers.move_to_end(screen.session)
        while len(self._numbers) > self.sessions.max_sessions:
            self._numbers.popitem(last=False)
        return number
