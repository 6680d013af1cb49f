"""Full inference of one image, 800 x 1088: ``python -m benchmarks.full``. Two to four minutes on two cores."""

from __future__ import annotations

import logging

import torch
from PIL import Image

from benchmarks.measure import gflop, interleaved, summary, write_result
from benchmarks.subject import arguments, build_network, draw_photo
from clickpose.inference import prepare
from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput
from clickpose.model.inputs import input_size, to_tensor
from parity.plain import PlainForm

logger = logging.getLogger(__name__)


def main() -> None:
    """Compare times, operations and answers with the plain form."""
    chosen = arguments(__doc__)
    model = build_network(chosen.quick)
    plain, network = PlainForm(model), prepare(model)
    config = model.config
    photo = Image.fromarray(draw_photo())
    size = input_size(photo.size, config.short_side_px, config.long_side_px)
    images = to_tensor(photo.resize(size), config)[None]

    logger.info("both forms once, for their answers and operations")
    expected, answer = plain.full(images)[1], full(network, images)
    result: dict[str, object] = {
        "input_wh": size,
        "plain_gflop": gflop(lambda: plain.full(images)),
        "full_gflop": gflop(lambda: full(network, images)),
        "largest_difference": differences(answer, expected),
    }
    logger.info("%s", result)
    repeats = chosen.repeats or 4
    logger.info("each form %d times, in turns", repeats)
    forms = {"plain": lambda: plain.full(images), "full": lambda: full(network, images)}
    times = interleaved(forms, repeats, warm_up=0)
    result |= {f"{name}_ms": summary(times[name]) for name in forms}
    result["share_of_plain_time"] = {
        kind: summary(times["full"])[kind] / summary(times["plain"])[kind] for kind in ("median", "min")
    }
    logger.info("%s", result["share_of_plain_time"])
    if not chosen.quick:
        logger.info("%s", write_result("full", result))


@torch.inference_mode()
def full(network: ClickPose, images: torch.Tensor) -> LayerOutput:
    """Find persons and their poses."""
    memory = network.encode(images)
    return network.estimate_poses(network.find_persons(memory), network.decoder.pose_values(memory))


def differences(ours: LayerOutput, theirs: LayerOutput) -> dict[str, float]:
    """Largest absolute difference of logits, boxes and keypoints."""
    assert ours.keypoints is not None and theirs.keypoints is not None
    return {
        "logits": float((ours.logits - theirs.logits).abs().max()),
        "boxes": float((ours.boxes - theirs.boxes).abs().max()),
        "keypoints": float((ours.keypoints - theirs.keypoints).abs().max()),
    }


if __name__ == "__main__":
    main()
