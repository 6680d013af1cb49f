"""``clickpose annotate`` that trains for one batch and promotes whatever comes of it: a test waits for no better model.

python -m tests.annotate_eagerly PHOTOS [OPTIONS]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from clickpose.__main__ import main
from clickpose.commands.annotate import background
from clickpose.training.config import TrainConfig, fine_tuning_for
from pipeline.compare import Comparison
from pipeline.gate import Verdict
from pipeline.retrain import retrain


def let_pass(*_: Any) -> Comparison:
    return Comparison({}, {}, Verdict(True, "it may pass"))


def one_batch(config: Mapping[str, Any]) -> TrainConfig:
    training = fine_tuning_for(config)
    return replace(training, epochs=1, scenes_per_epoch=training.batch_size)


if __name__ == "__main__":
    background.retrain = partial(retrain, compare=let_pass)  # type: ignore[assignment]
    background.fine_tuning_for = one_batch
    sys.argv[1:1] = ["annotate"]
    main()
