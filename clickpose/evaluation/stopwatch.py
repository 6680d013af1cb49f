"""How long each call of a predictor takes, summed over an evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from clickpose.evaluation.predictors import PosePredictor


class Stopwatch:
    """Measures calls of predictors, by the name of the call; calls within calls count for the outer one."""

    def __init__(self) -> None:
        """Start at once."""
        self.seconds: dict[str, float] = {}
        self._started_s = time.perf_counter()

    def on(self, predictor: PosePredictor) -> PosePredictor:
        """Return the predictor, its calls measured."""
        return cast(PosePredictor, _Measured(predictor, self))

    def read(self) -> dict[str, float]:
        """Return seconds by call, the longest first, and last ``rest``: everything else since the start."""
        total = time.perf_counter() - self._started_s
        longest_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {**dict(longest_first), "rest": total - sum(self.seconds.values())}

    def measure(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``call``, measured under a name."""

        @wraps(call)
        def measured(*arguments: Any, **options: Any) -> Any:
            started_s = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started_s

        return measured


class _Measured:
    """A predictor whose methods are measured; ``refine`` within ``add_person_at`` is the predictor's own."""

    def __init__(self, predictor: PosePredictor, watch: Stopwatch) -> None:
        self._predictor, self._watch = predictor, watch

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._predictor, name)
        return self._watch.measure(name, value) if callable(value) else value
