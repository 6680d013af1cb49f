"""The small model on a laptop's two threads: ``python -m benchmarks.demo``. Seconds."""

from __future__ import annotations

import logging

import torch

from benchmarks.measure import interleaved, summary, write_result
from benchmarks.subject import arguments, draw_photo
from clickpose.annotations import Click
from clickpose.predictor import Predictor

logger = logging.getLogger(__name__)
MODEL = "models/demo"


def main() -> None:
    """Time a first look at a photo, and a click."""
    chosen = arguments(__doc__)
    torch.set_num_threads(chosen.threads or 2)
    predictor, photo = Predictor.load(MODEL, device="cpu"), draw_photo((640, 480))
    encoded = predictor.encode(photo)
    poses = predictor.hypotheses(encoded)
    click = Click(0, predictor.skeleton.keypoints[3], (300.0, 200.0))
    forms = {
        "encode_and_detect": lambda: predictor.detect(predictor.encode(photo)),
        "refine": lambda: predictor.refine(encoded, poses, [click]),
    }
    times = interleaved(forms, chosen.repeats or 300, warm_up=10)
    result: dict[str, object] = {f"{name}_ms": summary(times_ms) for name, times_ms in times.items()}
    result["model"] = f"{MODEL}, {predictor.config.short_side_px} pixels on the shorter side"
    logger.info("%s", result)
    if not chosen.quick:
        logger.info("%s", write_result("demo", result))


if __name__ == "__main__":
    main()
