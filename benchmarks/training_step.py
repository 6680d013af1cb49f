"""Time and memory of a training step against the plain form: ``python -m benchmarks.training_step``.

Each form trains the same model on the same batch in a process of its own, and the processes take steps in turns.
Memory is the peak of a process minus that of Python and the imports: weights, gradients, optimiser, moving average,
activations.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import peak_memory_mib, summary, write_result
from clickpose.model import ClickPose, ModelConfig, mobilenet_v2_demo, resnet50_coco
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from clickpose.training.augment import Sample
from clickpose.training.batches import Batch, make_batch
from clickpose.training.config import TrainConfig, demo_training, published
from clickpose.training.cpu import keep_large_buffers, tune_for_cpu
from clickpose.training.loop import train_one_epoch
from clickpose.training.state import TrainState, build_state
from parity.plain_training import build_plain_state

ROOT = Path(__file__).parents[1]
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fast": {},
    "fast_checkpoints": {"checkpoint_activations": True},
    "fast_bfloat16": {"precision": "bfloat16"},
}
SETUPS = {
    "resnet50": "resnet50_coco(), published recipe, batch 2, 480x640, drawn persons",
    "demo": "mobilenet_v2_demo(), demo recipe, batch 16, 192x192, drawn persons",
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    if options.form:
        return take_steps(options)
    forms = [name for name in FORMS if options.all or name in ("plain", "fast")]
    result: dict[str, Any] = {"threads": options.threads, "steps": options.repeats}
    for setup in options.setups:
        result[setup] = compare(setup, forms, options)
        print(json.dumps({setup: result[setup]}, indent=2), flush=True)
    if not options.quick:
        print(f"wrote {write_result('training_step', result)}")


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setups", nargs="+", choices=SETUPS, help="all by default")
    parser.add_argument("--repeats", type=int, help="timed steps of each form, after one to warm up; 5 by default")
    parser.add_argument("--quick", action="store_true", help="one step of the small model, to try the script")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--all", action="store_true", help="with checkpointed activations and bfloat16, too")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)  # for child processes
    options = parser.parse_args(arguments)
    options.setups = options.setups or (["demo"] if options.quick else list(SETUPS))
    options.repeats = options.repeats or (1 if options.quick else 5)
    return options


def compare(setup: str, forms: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Let one process of each form take steps, one after the other."""
    steps: dict[str, list[dict[str, float]]] = {form: [] for form in forms}
    with running(setup, forms, options.threads) as children:
        for number in range(options.repeats + 1):
            for form, child in zip(forms, children, strict=True):
                steps[form].append(ask_for_step(child))
                print(f"{setup}, step {number} of {options.repeats}, {form}: {steps[form][-1]}", flush=True)
    return {"setup": SETUPS[setup], **summarise(steps)}


def summarise(steps: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Ratios to the plain form; the first step is warm-up, and the only one that starts from equal weights."""
    result: dict[str, Any] = {}
    for form, taken in steps.items():
        row: dict[str, Any] = {kind: summary([step[kind] for step in taken[1:]]) for kind in ("wall_ms", "cpu_ms")}
        row["peak_mib"], row["first_loss"] = taken[-1]["peak_mib"], taken[0]["loss"]
        plain = result.get("plain", row)
        row["time_ratio"] = row["wall_ms"]["median"] / plain["wall_ms"]["median"]
        row["time_ratio_of_minima"] = row["wall_ms"]["min"] / plain["wall_ms"]["min"]
        row["cpu_time_ratio"] = row["cpu_ms"]["median"] / plain["cpu_ms"]["median"]
        row["memory_ratio"] = row["peak_mib"] / plain["peak_mib"]
        result[form] = row
    return result


@contextmanager
def running(setup: str, forms: Sequence[str], num_threads: int) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "benchmarks.training_step", "--setups", setup, "--threads", str(num_threads)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    children = [subprocess.Popen([*command, "--form", form], **pipes) for form in forms]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def ask_for_step(child: subprocess.Popen[str]) -> dict[str, float]:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write("step\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    if not answer:
        raise SystemExit("a form's process ended; its error is above")
    step: dict[str, float] = json.loads(answer)
    return step


def take_steps(options: argparse.Namespace) -> None:
    """Run in a child process: one training step, and one line about it, for each line read."""
    imported_mib = peak_memory_mib()
    state, batch, config = prepare(options.setups[0], options.form, options.threads)
    for _ in sys.stdin:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        losses = train_one_epoch(state, [batch], config, steps_per_epoch=10_000)
        step = {
            "wall_ms": round(1000 * (time.perf_counter() - wall_s)),
            "cpu_ms": round(1000 * (time.process_time() - cpu_s)),
            "peak_mib": round(peak_memory_mib() - imported_mib),
            "loss": losses["train/loss"],
        }
        print(json.dumps(step), flush=True)


def prepare(setup: str, form: str, num_threads: int) -> tuple[TrainState, Batch, TrainConfig]:
    """Model and batch of a set-up, under training in one form."""
    if setup == "resnet50":
        model, skeleton, config = resnet50_coco(), Skeleton.load("coco17"), published(batch_size=2, **FORMS[form])
        people = DrawnPeople(skeleton, num_images=2, size_wh=(640, 480), max_persons=6)
    else:
        model, skeleton, config = mobilenet_v2_demo(), Skeleton.load("crowdpose14"), demo_training(**FORMS[form])
        people = DrawnPeople(skeleton, num_images=16, size_wh=(192, 192), max_persons=4)
    torch.set_num_threads(num_threads)
    if form == "plain":
        keep_large_buffers()  # the allocator's setting is not part of any form
    else:
        tune_for_cpu(num_threads)
    torch.manual_seed(0)
    build = build_plain_state if form == "plain" else build_state
    return build(ClickPose(model), skeleton, config), batch_of(people, model), config


def batch_of(people: DrawnPeople, model: ModelConfig) -> Batch:
    samples = [Sample(people.load_image(image), image.persons) for image in people.annotations.images]
    return make_batch(samples, model, len(people.skeleton))


if __name__ == "__main__":
    main()
