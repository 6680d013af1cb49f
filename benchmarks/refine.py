"""A click on one person, against a round of the published loop: ``python -m benchmarks.refine``. About two minutes.

Of ours, all of ``Predictor.refine`` is timed, from pixels to pixels; of the plain form the network alone.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import gflop, interleaved, summary, write_result
from benchmarks.subject import arguments, build_network, build_predictor, draw_photo
from clickpose.annotations import Click
from clickpose.model import ClickPose
from clickpose.model.inputs import to_tensor
from clickpose.predictor import EncodedImage, Predictor
from clickpose.whole_image import EncodedWholeImage
from parity.plain import PERSONS_PER_ROUND, PlainForm

logger = logging.getLogger(__name__)
MAX_SIZE_WH = (1333, 800)
CLICK = Click(0, "left_wrist", (400.0, 300.0))


def main() -> None:
    """Count, time and weigh."""
    chosen = arguments(__doc__)
    model = build_network(chosen.quick)
    predictor = build_predictor(model)
    logger.info("a click on one person, and a round of the published loop, %d times in turns", chosen.repeats or 40)
    result = clicks(model, predictor, chosen.repeats or 40)
    logger.info("%s\nencode and detect", result)
    result |= {"full_ms": summary(full_ms(predictor, 3))}
    logger.info("%s\nwhat is kept of an image of 800 x 1333", result["full_ms"])
    result |= kept_memory(predictor)
    logger.info("%s", result)
    if not chosen.quick:
        logger.info("%s", write_result("refine", result))


def clicks(model: ClickPose, predictor: Predictor, repeats: int) -> dict[str, Any]:
    """Compare a click on one person with a round over twenty for whom nothing is kept."""
    photo, plain = draw_photo(), PlainForm(model)
    encoded = predictor.encode(photo)
    assert isinstance(encoded, EncodedWholeImage)
    poses = predictor.hypotheses(encoded)
    with torch.inference_mode():
        size_wh = [8 * side for side in reversed(encoded.values.shapes[0])]  # as scaled for the network
        memory = predictor.network.encode(to_tensor(Image.fromarray(photo).resize(size_wh), model.config)[None])
        found = predictor.network.estimate_poses(predictor.network.find_persons(memory), encoded.values)
    assert found.keypoints is not None
    boxes, keypoints = found.boxes[:, :PERSONS_PER_ROUND], found.keypoints[:, :PERSONS_PER_ROUND]
    forms = {
        "refine": lambda: predictor.refine(encoded, poses, [CLICK]),
        "published_round": lambda: plain.loop_round(memory, boxes, keypoints),
    }
    times = {name: summary(times_ms) for name, times_ms in interleaved(forms, repeats).items()}
    return {
        "refine_one_person_gflop": gflop(forms["refine"]),
        "published_round_gflop": gflop(forms["published_round"]),
        "refine_ms": times["refine"],
        "published_round_ms": times["published_round"],
        "speedup_over_published_form": times["published_round"]["median"] / times["refine"]["median"],
        "speedup_of_fastest_runs": times["published_round"]["min"] / times["refine"]["min"],
    }


def full_ms(predictor: Predictor, repeats: int) -> list[float]:
    """Time encode and detect of one image."""
    photo = draw_photo()
    return interleaved({"full": lambda: predictor.detect(predictor.encode(photo))}, repeats, warm_up=0)["full"]


def kept_memory(predictor: Predictor) -> dict[str, Any]:
    """Measure the memory of an ``EncodedImage`` of 800 x 1333, and how far half precision moves keypoints."""
    encoded = predictor.encode(draw_photo(MAX_SIZE_WH))
    assert isinstance(encoded, EncodedWholeImage)
    half = dataclasses.replace(encoded, values=encoded.values.kept_as(torch.float16))
    poses = predictor.hypotheses(encoded)
    moved = [
        np.abs(a.keypoints_px - b.keypoints_px).max(-1)
        for i in range(min(10, len(poses)))
        for a, b in zip(*(clicked(predictor, kept, poses, i) for kept in (encoded, half)), strict=True)
    ]
    return {
        "encoded_image_mb": {"float32": encoded.num_bytes / 1e6, "float16": half.num_bytes / 1e6},
        "float16_moves_px": {"median": float(np.median(moved)), "max": float(np.max(moved))},
    }


def clicked(predictor: Predictor, encoded: EncodedImage, poses: list[Any], person: int) -> list[Any]:
    """Refine one person."""
    return [predictor.refine(encoded, poses, [dataclasses.replace(CLICK, person=person)])[person]]


if __name__ == "__main__":
    main()
