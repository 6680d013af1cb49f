"""Label Studio over PostgreSQL, as teams run it: an annotator's loop, up to reading what was annotated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integrations.label_studio.server import LabelStudioServer
from tests.integrations.annotators_loop import play_annotator
from tests.integrations.postgresql import find_programs, running_postgresql

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    try:
        find_programs()
    except LookupError as error:
        pytest.skip(f"NO TEST WITH POSTGRESQL: {error}")
    folder = tmp_path_factory.mktemp("studio")
    with running_postgresql() as settings, LabelStudioServer(folder, settings=settings) as server:
        yield server
    assert not list(folder.glob("*.sqlite3"))


def test_an_annotators_loop(label_studio: LabelStudioServer, service: Any) -> None:
    play_annotator(label_studio, service)
