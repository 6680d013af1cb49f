"""The file format of safetensors in plain PyTorch, for a machine that has only that; put this folder on PYTHONPATH."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType


class SafetensorError(Exception):
    """A file is not in the format."""


class safe_open:
    """An open file; only its metadata can be read."""

    def __init__(self, file: str | Path, framework: str) -> None:
        with open(file, "rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        self._metadata: dict[str, str] = header.get("__metadata__", {})

    def __enter__(self) -> safe_open:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def metadata(self) -> dict[str, str]:
        """Return the strings that were stored beside the tensors."""
        return self._metadata
