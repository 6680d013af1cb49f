"""Several ingresses keep sessions together: what one of them lacks, it asks the others for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ray.serve.handle import DeploymentHandle

Kept = TypeVar("Kept")
Answer = TypeVar("Answer")

TIMEOUT_S = 2.0


class Peers(Generic[Kept]):
    """All ingresses of the application, including this one.

    Args:
        kept: what this ingress keeps.
        handle: handle of the ingress deployment, whose method ``answer_peer`` answers; None for a single ingress.
    """

    def __init__(self, kept: Kept, handle: DeploymentHandle[Any] | None = None) -> None:
        self.kept = kept
        self._handle = handle

    @property
    def alone(self) -> bool:
        """Whether this is the only ingress."""
        return self._handle is None

    async def ask(self, question: Callable[[Kept], Answer]) -> list[Answer]:
        """Return the answers of all ingresses that can be reached; a question must be safe to repeat."""
        ours = question(self.kept)
        if self._handle is None:
            return [ours]
        calls = self._handle.broadcast("answer_peer", question)
        answers = await calls.results_async(timeout_s=TIMEOUT_S, return_exceptions=True)
        return [ours, *(answer for answer in answers if not isinstance(answer, BaseException))]
