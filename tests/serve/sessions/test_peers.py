"""An ingress asks all others, and does without those that crash or hang."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from serve.sessions.peers import Peers


class Handle:
    """A handle of several ingresses; each of them is what it keeps, or how it fails."""

    def __init__(self, *others: Any) -> None:
        self.others = others

    def broadcast(self, method: str, question: Any) -> Handle:
        self.answers = [other if isinstance(other, Exception) else question(other) for other in self.others]
        return self

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> list[Any]:
        for answer in self.answers:
            if isinstance(answer, TimeoutError | DeploymentUnavailableError):
                raise answer
        return self.answers


@pytest.mark.parametrize(
    ("handle", "answers"),
    [
        (None, [3]),
        (Handle("two", "three"), [3, 3, 5]),
        (Handle("two", RuntimeError("it crashed")), [3, 3]),
        (Handle("two", TimeoutError()), [3]),
        (Handle(DeploymentUnavailableError(DeploymentID("ingress"))), [3]),
    ],
    ids=["alone", "all", "one crashed", "one hangs", "none is up"],
)
def test_every_ingress_that_can_be_reached_answers(handle: Any, answers: list[int]) -> None:
    assert asyncio.run(Peers("one", handle).ask(len)) == answers
