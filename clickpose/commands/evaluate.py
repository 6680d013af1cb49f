"""``clickpose evaluate``: how good a model is, and how many clicks its answers cost."""

from __future__ import annotations

from clickpose.commands.evaluation_options import EvaluateOptions
from clickpose.commands.options import takes


@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Measure AP, AP at n clicks, number of clicks, harm and drift on annotated images."""
    from clickpose.commands.evaluation import run_evaluation

    run_evaluation(options)
