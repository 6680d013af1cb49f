"""Train pose layers and the last stages of their looker on packed persons: ``sh examples/demo_gpu.sh PACKED OUT``.

Starts from a model, trains for some minutes at rates that fall to zero (cosine), and writes the moving average of the
weights to OUT/model, with the loss on persons of images that were held out, before and after.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig, person_frame_training
from clickpose.training.loop import train_step
from clickpose.training.person_frame.packing import PackedBatch, PackedBatches, PackedCrops
from clickpose.training.person_frame.pixels import LAST_STAGES, PixelTrainingStep, pixel_state
from clickpose.training.state import TrainState

logger = logging.getLogger(__name__)
HELD_OUT = 25  # one in so many images
MEASURED = 8  # batches
WARMUP = 0.02  # share of the time in which the rates rise
LOG_EVERY_S = 20.0


def main() -> None:
    """Train, measure and write."""
    options = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    crops = PackedCrops.read(options.packed)
    training, held_out = crops.split(HELD_OUT)
    model, config = load_model(options.start), settings(options)
    assert isinstance(model.network, PersonFrameNetwork), "a model in the person's frame is needed"
    state = pixel_state(model.network.to(options.device), model.skeleton, config, options.release)
    numbers: dict[str, object] = {"persons": len(training), "held out": len(held_out)}
    measured = PackedBatches(crops, held_out, config.batch_size, seed=1)
    numbers["before"] = measure(state.average, model.skeleton, config, measured, options)
    train(state, PackedBatches(crops, training, config.batch_size, config.seed), config, 60 * options.minutes)
    numbers |= {"steps": state.step, "after": measure(state.average, model.skeleton, config, measured, options)}
    assert isinstance(state.average, PersonFrameNetwork)
    card = f"# Demo model, its looker trained further\n\n- parent: `{options.start}`\n- {json.dumps(numbers)}\n"
    save_model(options.out / "model", state.average, model.skeleton, metrics={}, card=card, dtype=torch.float16)
    (options.out / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    logger.info("%s", json.dumps(numbers))


def settings(options: argparse.Namespace) -> TrainConfig:
    """Return the settings of the person's frame with the rates and the batch of the command line."""
    return person_frame_training(
        batch_size=8 if options.quick else options.batch_size,
        learning_rate=options.learning_rate,
        backbone_learning_rate=options.looker_rate,
        precision=options.precision,
        ema_decay=options.ema_decay,
        seed=options.seed,
    )


def train(state: TrainState, batches: PackedBatches, config: TrainConfig, seconds: float) -> None:
    """Train for some time; the rates follow the share of it that is over."""
    started, logged = time.monotonic(), 0.0
    for batch in ahead(batches):
        share = (elapsed := time.monotonic() - started) / seconds
        if share >= 1:
            return
        factor = min(1.0, share / WARMUP) * 0.5 * (1 + math.cos(math.pi * share))
        losses = train_step(state, [batch], config, factor)
        if elapsed - logged > LOG_EVERY_S:
            logged = elapsed
            logger.info("%4.0f s, step %d, loss %.3f", elapsed, state.step, float(losses["loss"]))


def ahead(batches: PackedBatches) -> Iterator[PackedBatch]:
    """Yield batches without end; the next is decoded while one is used."""
    with ThreadPoolExecutor(1) as pool:
        step, coming = 0, pool.submit(batches.__getitem__, 0)
        while True:
            batch, step = coming.result(), step + 1
            coming = pool.submit(batches.__getitem__, step)
            yield batch


@torch.no_grad()
def measure(
    network: torch.nn.Module,
    skeleton: Skeleton,
    config: TrainConfig,
    batches: PackedBatches,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Return the mean loss, and the share of keypoints within tolerance before and after the last round."""
    assert isinstance(network, PersonFrameNetwork)
    step = PixelTrainingStep(network, skeleton, replace(config, precision="float32")).to(options.device).eval()
    sums: dict[str, float] = {}
    count = 1 if options.quick else MEASURED
    for number in range(count):
        loss, logs = step(batches[number], 0, 0, torch.Generator().manual_seed(number))
        for name, value in {"loss": loss, **logs}.items():
            sums[name] = sums.get(name, 0.0) + float(value) / count
    return sums


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("packed", type=Path, help="file that examples.pack_crops wrote")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--start", type=Path, default=Path("models/demo"), help="model to start from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="of training")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of the pose layers")
    parser.add_argument("--looker-rate", type=float, default=5e-5, help="of the looker's released weights")
    parser.add_argument("--release", nargs="+", default=list(LAST_STAGES), help="the looker's weights that are trained")
    parser.add_argument("--precision", default="bfloat16", help="of the looker: float32 or bfloat16")
    parser.add_argument("--ema-decay", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small batches and few to measure on, to try the command")
    return parser.parse_args()


if __name__ == "__main__":
    main()
