"""Several ingresses keep sessions together: what one of them lacks, it asks the others for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

logger = logging.getLogger(__name__)

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

    async def ask(self, question: Callable[[Kept], Answer], timeout_s: float = TIMEOUT_S) -> list[Answer]:
        """Return this ingress's answer, and those of the others; a question must be safe to repeat.

        Ingresses that crash meanwhile do not answer. If one hangs, or Serve knows of none, only this one's answer is
        returned.
        """
        ours = question(self.kept)
        if self._handle is None:
            return [ours]
        try:
            calls = self._handle.broadcast("answer_peer", question)
            answers = await calls.results_async(timeout_s=timeout_s, return_exceptions=True)
        except (TimeoutError, DeploymentUnavailableError):
            logger.warning("the other ingresses could not be reached within %g s", timeout_s)
            answers = []
        return [ours, *(answer for answer in answers if not isinstance(answer, BaseException))]
