"""``python -m benchmarks.serve_load [--annotators 20] [--replicas 2] [--think-seconds 1]``"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.measure import RESULTS, machine, summary, write_result
from benchmarks.serve_load.pictures import write_pictures
from benchmarks.serve_load.report import draw, make_table, summarise
from benchmarks.serve_load.stand import running
from clickpose.skeleton import Skeleton
from serve.load.phases import Plan, Tell, play

NUM_PICTURES = 200
CACHE_MIB = 512
POLL_S = 1.0  # new models are noticed within the test
SESSIONS = 100  # so few that the limit is reached early: only then can memory stay flat


def main() -> None:
    arguments = _arguments()
    plan = Plan(arguments.annotators, arguments.think_seconds, arguments.seconds, *_rest(arguments))
    before = machine()
    with tempfile.TemporaryDirectory(prefix="serve-load-") as scratch, _progress() as tell:
        tell("pictures")
        pictures = write_pictures(Path(scratch) / "pictures", NUM_PICTURES)
        tell("the model alone")
        model_ms = time_model(arguments.model, [Path(scratch) / "pictures" / name for name in list(pictures)[:40]])
        tell("the service starts")
        with running(
            arguments.model,
            Path(scratch),
            pictures,
            replicas=arguments.replicas,
            ingresses=arguments.ingresses,
            cache_mib=CACHE_MIB,
            sessions=SESSIONS,
            **({} if arguments.only_work else {"poll_s": POLL_S}),
        ) as stand:
            story = asyncio.run(play(stand, Skeleton.load(str(arguments.model / "skeleton.json")), plan, tell))
    result = summarise(story, plan, model_ms) | {
        "load_before": before["load_before"],
        "replicas": arguments.replicas,
        "ingresses": arguments.ingresses,
    }
    Console().print(make_table(result))
    if arguments.name:
        print(write_result(arguments.name, result))
        draw(story, RESULTS / f"{arguments.name}.png")


def _rest(arguments: argparse.Namespace) -> tuple[float, float, int]:
    """Return the sizes of the phases after the first one."""
    if arguments.only_work:
        return 0.0, 0.0, 0
    return arguments.fault_seconds, arguments.flood_seconds, arguments.endurance_clicks


def time_model(folder: Path, files: list[Path]) -> dict[str, float]:
    """Return the median milliseconds of each step of the predictor alone, in one thread."""
    import torch

    from clickpose.annotations import Click
    from clickpose.images import read_image
    from clickpose.predictor import Predictor

    torch.set_num_threads(1)
    predictor = Predictor.load(folder, device="cpu")
    times_ms: dict[str, list[float]] = {"encode": [], "detect": [], "refine": []}
    for file in files:
        image = read_image(file)
        started = time.perf_counter()
        encoded = predictor.encode(image)
        encoded_at = time.perf_counter()
        poses = predictor.detect(encoded)
        detected_at = time.perf_counter()
        times_ms["encode"].append(1000 * (encoded_at - started))
        times_ms["detect"].append(1000 * (detected_at - encoded_at))
        if poses:
            predictor.refine(encoded, poses, [Click(0, 0, tuple(poses[0].keypoints_px[0].tolist()))])
            times_ms["refine"].append(1000 * (time.perf_counter() - detected_at))
    return {step: round(summary(values)["median"], 2) for step, values in times_ms.items()}


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show progress."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        task = progress.add_task("starting")

        def tell(text: str) -> None:
            progress.console.print(f"{time.strftime('%H:%M:%S')} {text}")
            progress.update(task, description=text)

        yield tell


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.serve_load", description="Test the service under load.")
    parser.add_argument("--model", type=Path, default=Path("models/demo"))
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--ingresses", type=int, default=2)
    parser.add_argument("--annotators", type=int, default=Plan.annotators)
    parser.add_argument("--think-seconds", type=float, default=Plan.every_s, help="between two clicks, on average")
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="of undisturbed work")
    parser.add_argument("--only-work", action="store_true", help="leave out faults, flood and endurance")
    parser.add_argument("--fault-seconds", type=float, default=Plan.fault_seconds, help="of work with faults")
    parser.add_argument("--flood-seconds", type=float, default=Plan.flood_seconds)
    parser.add_argument("--endurance-clicks", type=int, default=Plan.endurance_clicks)
    parser.add_argument("--name", default="serve_load", help="of the result; empty to write none")
    return parser.parse_args()


if __name__ == "__main__":
    main()
