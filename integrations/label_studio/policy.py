"""Several annotations of one task: which of them may be used."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any


class Policy(enum.StrEnum):
    """Which of several annotations of one task is used."""

    latest = "latest"  # the ground truth if one is marked, else the one saved last
    ground_truth = "ground-truth"  # only annotations marked as ground truth
    agreement = "agreement"  # the one that agrees best with the others, if they agree at all


def candidates(tasks: Iterable[Mapping[str, Any]], policy: Policy) -> list[Mapping[str, Any]]:
    """Return the tasks with the annotations that a policy allows; with ``agreement``, each annotation by itself."""
    if policy is Policy.latest:
        return list(tasks)
    found: list[Mapping[str, Any]] = []
    for task in tasks:
        submitted = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
        if policy is Policy.ground_truth:
            found.append({**task, "annotations": [one for one in submitted if one.get("ground_truth")]})
        else:
            found += [{**task, "annotations": [one]} for one in submitted]
    return found
