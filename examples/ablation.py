"""What each part of training brings: the same network trained briefly without it, or with another.

    python examples/ablation.py runs/ablation
    python examples/ablation.py runs/ablation --data lspet14/train.json --images lspet14/images \
        --measure-on lspet14/val.json --init models/demo --steps 2000 --seeds 3 --set learning_rate=1e-4

Without data it draws its people, so that it runs anywhere, in a minute or two a row; what a tiny network learns from
drawn people in that time says little about the method. Each row is the mean over seeds, with the standard deviation if
there are more than one. All rows of a seed begin with the same weights and see the same scenes. ``--only NAME`` trains
some of the rows.
"""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clickpose.annotations import AnnotationSet, convert_set
from clickpose.commands.settings import change_settings
from clickpose.engine import build_state, train_one_epoch, tune_for_cpu
from clickpose.evaluation import evaluate
from clickpose.model import ClickPose, tiny
from clickpose.model_folder import load_model
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from clickpose.training.augment import LoadImage
from clickpose.training.batches import TrainingBatches, load_batches
from clickpose.training.config import TrainConfig
from clickpose.training.scenes import SceneConfig
from integrations.coco import read_coco
from pipeline.dataset import PictureFolder

VARIANTS = {
    "published": [],
    "without noised poses": ["num_denoised=0"],
    "without the loop": ["feedback.probability=0"],
    "without both": ["num_denoised=0", "feedback.probability=0"],
    "left-right inversion, as in the paper": ["denoising.label_noise=0", "denoising.inversion=0.4"],
    "noise weighed by the batch": ["losses.denoising_divisor=batch"],
    "clicks are held": ["feedback.hold=all"],
    "a human's clicks, held": ["feedback.hold=all", "feedback.click_noise=1", "feedback.order=random"],
    "scores tell the quality": ["losses.score_target=oks"],
}
SHOWN = ("AP", "AP@C1", "AP@C2", "AP@C4", "clicks@85", "manual_clicks@85", "harm@85")


def main(
    out: Path,
    data: Annotated[Path | None, typer.Option(help="COCO keypoint file to learn from.")] = None,
    measure_on: Annotated[Path | None, typer.Option(help="COCO keypoint file to measure on.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures of both.")] = None,
    init: Annotated[Path | None, typer.Option(help="Model folder to start from; else a tiny new one.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps of each row and seed.")] = 300,
    seeds: Annotated[int, typer.Option(help="Trainings of each row.")] = 1,
    only: Annotated[list[str], typer.Option(help="Rows to train.")] = list(VARIANTS),  # noqa: B006
    changes: Annotated[list[str], typer.Option("--set", help="Setting of all rows: name=value.")] = [],  # noqa: B006
) -> None:
    tune_for_cpu(1)
    if data and measure_on and images:
        known, held_back, load = read_coco(data), read_coco(measure_on), PictureFolder(str(images))
    else:
        known, held_back, load = drawn()
    scenes = SceneConfig() if data else SceneConfig(canvas_sizes_px=((96, 96),), max_pictures=1)
    base = TrainConfig(
        batch_size=4,
        learning_rate=1e-3,
        backbone_learning_rate=1e-3,
        schedule="cosine",
        clip_norm=1.0,
        augment=scenes,
    )
    base = change_settings(replace(base, epochs=1, scenes_per_epoch=steps * base.batch_size), changes)

    rows: dict[str, list[dict[str, float | None]]] = {name: [] for name in only}
    for seed in range(seeds):
        for name in track(only, f"seed {seed}"):
            config = change_settings(replace(base, seed=seed), VARIANTS[name])
            network, skeleton = start(init, known.skeleton, seed)
            trained = train(network, skeleton, convert_set(known, skeleton), load, config)
            metrics = evaluate(Predictor(trained, skeleton), convert_set(held_back, skeleton), load, goals=(0.85,))
            rows[name].append({key: metrics[key] for key in SHOWN})
    out.mkdir(parents=True, exist_ok=True)
    (out / "numbers.json").write_text(json.dumps(rows, indent=2) + "\n")
    show(rows, f"{steps} steps of {base.batch_size * base.accumulate} scenes, {len(held_back)} pictures to measure on")


def drawn() -> tuple[AnnotationSet, AnnotationSet, LoadImage]:
    """Draw people to learn from, and others to measure on; their file names tell which is which."""
    skeleton = Skeleton.load("crowdpose14")
    known, others = (DrawnPeople(skeleton, n, (96, 96), 2, seed) for n, seed in ((64, 0), (8, 1)))
    ours = {image.file_name: people for people in (known, others) for image in people.annotations.images}
    return known.annotations, others.annotations, lambda image: ours[image.file_name].load_image(image)


def start(init: Path | None, skeleton: Skeleton, seed: int) -> tuple[ClickPose, Skeleton]:
    torch.manual_seed(seed)
    if init is None:
        return ClickPose(tiny(len(skeleton))), skeleton
    model = load_model(init)
    return model.network, model.skeleton


def train(
    network: ClickPose, skeleton: Skeleton, known: AnnotationSet, load: LoadImage, config: TrainConfig
) -> ClickPose:
    """Train for one epoch, in this process; return the moving average."""
    state = build_state(network, skeleton, config)
    scenes = TrainingBatches(
        known,
        load,
        network.config,
        config.augment,
        batch_size=config.batch_size,
        seed=config.seed,
        epoch=0,
        scenes_per_epoch=config.scenes_per_epoch,
    )
    train_one_epoch(state, load_batches(scenes), config, -(-len(scenes) // config.accumulate))
    return state.average


def show(rows: dict[str, list[dict[str, float | None]]], title: str) -> None:
    table = Table("training", *SHOWN, title=title)
    for name, runs in rows.items():
        table.add_row(name, *(shown([run[key] for run in runs if run[key] is not None]) for key in SHOWN))
    Console(width=130).print(table)


def shown(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    typer.run(main)
