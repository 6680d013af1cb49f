"""The models of a store: all versions, the current one, and the history for rollbacks.

A model is added under a new version such as ``v0007-3f9a2c1b`` (a counter, and the start of the hash of its content)
and never changes afterwards. Its ``record.json`` is written last: a version without one is an interrupted upload and
does not count. ``models/current`` names the promoted version; ``models/history.json`` keeps
every promotion and rollback, oldest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clickpose.checkpoints.files import ALL, METRICS
from clickpose.errors import InvalidModel, StoreError
from integrations.store import CURRENT, HISTORY, MODELS, NUMBERED_VERSION, line_to, record_of
from pipeline.store import Store, folder_hashes, local_folder

MAX_ROLLBACKS = 50


@dataclass(frozen=True)
class ModelRecord:
    """A model of the registry.

    Attributes:
        version: its name, e.g. ``v0007-3f9a2c1b``.
        parent: the version it was fine-tuned from, if any.
        added_at: ISO 8601 time in UTC.
        metrics: the numbers of its ``metrics.json``.
        is_current: whether it is the promoted one.
    """

    version: str
    parent: str | None
    added_at: str
    metrics: Mapping[str, Any]
    is_current: bool


class Registry:
    """The models of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def current(self) -> str | None:
        """Return the promoted version, or None before the first promotion."""
        return self.store.read_pointer(CURRENT)

    def champion(self) -> str:
        """Return the promoted version, from which a round starts.

        Raises:
            StoreError: no version was promoted yet.
        """
        version = self.current()
        if version is None:
            raise StoreError(f"{self.store.uri} has no current model to start from: add one and promote it")
        return version

    def versions(self) -> list[str]:
        """Return every complete version, oldest first."""
        numbered = [
            (int(match[1]), name) for name in self.store.names(MODELS) if (match := NUMBERED_VERSION.fullmatch(name))
        ]
        return [name for _, name in sorted(numbered) if self.store.exists(record_of(name))]

    def models(self) -> list[ModelRecord]:
        """Return the record of every complete version, oldest first."""
        return [self.show(version) for version in self.versions()]

    def show(self, version: str) -> ModelRecord:
        """Return the record of one version; StoreError if there is no such version."""
        record = self._record(version)
        metrics = self.store.read_json(f"{MODELS}/{version}/{METRICS}")
        return ModelRecord(version, record["parent"], record["added_at"], metrics, version == self.current())

    def add(self, folder: str | Path, *, parent: str | None = None, made_by: str | None = None) -> str:
        """Copy a model folder into the store and return its new version. It is not promoted.

        Args:
            folder: the model.
            parent: the version that it was fine-tuned from.
            made_by: the round that trained it, by which ``version_made_by`` finds it again.

        Raises:
            InvalidModel: the folder lacks one of the files that make a model.
            StoreError: ``parent`` is not a version of this registry, or the store cannot be written.
        """
        missing = [file for file in ALL if not (Path(folder) / file).is_file()]
        if missing:
            raise InvalidModel(f"{folder} is not a model folder: {', '.join(missing)} missing")
        if parent is not None:
            self._record(parent)
        version = f"v{self._next_number():04d}-{folder_digest(folder)[:8]}"
        files = self.store.put_folder(folder, f"{MODELS}/{version}")
        record = {"parent": parent, "added_at": _now(), "files": files, "made_by": made_by}
        self.store.write_json(record_of(version), record)
        return version

    def version_made_by(self, round_name: str) -> str | None:
        """Return the version that a round added, or None if it has not added one."""
        made = (name for name in self.versions() if self._record(name).get("made_by") == round_name)
        return next(made, None)

    def promote(self, version: str) -> None:
        """Make a version the current one; nothing happens if it is already.

        Raises:
            StoreError: there is no such version.
        """
        self._record(version)
        if version != self.current():
            self._move_to([*self._line(), version][-MAX_ROLLBACKS:], "promote")

    def promote_over(self, champion: str, version: str) -> bool:
        """Promote a challenger, unless the current version has changed since it was compared.

        A version that was promoted and rolled back is not promoted again.

        Args:
            champion: the version that the challenger was compared with.
            version: the challenger.

        Returns:
            Whether the challenger is current now.
        """
        was_rolled_back = version in [event["version"] for event in self.history()[:-1]]
        if self.current() == champion and not was_rolled_back:
            self.promote(version)
        return self.current() == version

    def rollback(self) -> str:
        """Make the version current that was current before, and return it.

        Repeated calls go back promotion by promotion.

        Raises:
            StoreError: no version was current before.
        """
        line = self._line()
        if len(line) < 2:
            raise StoreError(f"{self.store.uri_of(CURRENT)} has no previous version to roll back to")
        self._move_to(line[:-1], "rollback")
        return line[-2]

    def history(self) -> list[dict[str, Any]]:
        """Return every promotion and rollback, oldest first: ``action``, ``version``, ``at`` and ``line``.

        ``line`` lists the versions that led to the current one, itself included.
        """
        return list(self.store.read_json(HISTORY)) if self.store.exists(HISTORY) else []

    def fetch(self, version: str, cache: str | Path | None = None) -> Path:
        """Return a local folder with a version's files, in place or as a copy, after checking their hashes.

        Raises:
            StoreError: there is no such version, or a file is not what was added.
        """
        expected = self._record(version)["files"]
        folder = local_folder(self.store.uri_of(f"{MODELS}/{version}"), cache)
        found = folder_hashes(folder)
        changed = [file for file, digest in expected.items() if found.get(file) != digest]
        if changed:
            raise StoreError(f"{folder} differs from what was added as {version} in {', '.join(changed)}")
        return folder

    def _line(self) -> list[str]:
        return line_to(self.current(), self.history())

    def _move_to(self, line: list[str], action: str) -> None:
        """Make the last version of a line current; the event is written first, and is valid once the pointer agrees."""
        event, events = {"action": action, "version": line[-1], "line": line}, self.history()
        if not events or {**events[-1], **event} != events[-1]:  # else a process was killed before it wrote the pointer
            self.store.write_json(HISTORY, [*events, {**event, "at": _now()}])
        self.store.write_pointer(CURRENT, line[-1])

    def _record(self, version: str) -> dict[str, Any]:
        if not NUMBERED_VERSION.fullmatch(version) or not self.store.exists(record_of(version)):
            raise StoreError(f"there is no model {version!r} in {self.store.uri_of(MODELS)}")
        return dict(self.store.read_json(record_of(version)))

    def _next_number(self) -> int:
        """One more than any number in use, interrupted uploads included."""
        return max((number for number, _ in self._numbered()), default=0) + 1

    def _numbered(self) -> list[tuple[int, str]]:
        """Every version with its number, interrupted uploads included."""
        names = self.store.names(MODELS)
        return [(int(match[1]), name) for name in names if (match := NUMBERED_VERSION.fullmatch(name))]


def folder_digest(folder: str | Path) -> str:
    """SHA-256 over the names and contents of all files of a model folder: the identity of a model."""
    lines = "".join(f"{digest}  {file}\n" for file, digest in folder_hashes(folder).items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
