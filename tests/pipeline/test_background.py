"""What ``clickpose annotate`` says about rounds."""

from types import SimpleNamespace
from typing import Any

import pytest

from clickpose.commands.annotate import background as module
from clickpose.commands.annotate.background import Background


def outcome(challenger: str | None, reason: str, num_new: int) -> Any:
    return SimpleNamespace(challenger=challenger, reason=reason, newest=("a.jpg",) * num_new)


def test_a_round_is_told_once_and_also_if_it_only_held_images_back(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = [
        outcome(None, "1 images are new, 2 are needed", 1),
        outcome(None, "of 2 new images 2 are held back", 2),
        outcome(None, "of 2 new images 2 are held back", 2),
        outcome("v2", "fewer clicks", 3),
    ]
    monkeypatch.setattr(module, "watch", lambda *_: rounds)
    told: list[str] = []
    background = Background.__new__(Background)
    background.tell, background.config = told.append, SimpleNamespace(min_new_pictures=2)
    background.desk = SimpleNamespace(annotated=None)
    monkeypatch.setattr(background, "label", lambda: None)
    background.run()
    assert told == ["no new model: of 2 new images 2 are held back", "v2: fewer clicks"]
