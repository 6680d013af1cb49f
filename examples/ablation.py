"""The effect of each part of training: the same network trained briefly without it, or with another variant.

    python examples/ablation.py runs/ablation
    python examples/ablation.py runs/ablation --data lspet14/train.json --images lspet14/images \
        --measure-on lspet14/val.json --init models/demo \
        --reset decoder. --reset person_label --reset keypoint_label --reset held_mark \
        --steps 1000 --set batch_size=8 --set num_denoised=6 --set learning_rate=5e-4 --set clip_norm=0.5 \
        --set warmup_steps=30 --set ema_decay=0.99 \
        --set 'frozen=["backbone.","projection.","encoder.","proposal_head."]'

Without data it draws people, so that it runs anywhere, in a minute or two per row; but a tiny network and drawn people
say little about the method. Weights with a prefix in ``--reset`` start at random: noised poses and the loop train the
decoder, and on a trained encoder a short training is enough to see their effect.

Each row changes settings of training, or with ``model.`` those of the network. It is the mean over seeds, with the
standard deviation if there are several; all rows of a seed start from the same weights and see the same scenes.
``--only NAME`` trains some of the rows; rows that are in ``numbers.json`` are not trained again.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clickpose.annotations import AnnotationSet, convert_set
from clickpose.checkpoints.model_folder import load_model
from clickpose.commands.options import takes
from clickpose.commands.settings import change_settings
from clickpose.evaluation import Simulation, evaluate
from clickpose.model import ClickPose, tiny
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from clickpose.training.augment import LoadImage
from clickpose.training.batches import EpochShare, TrainingBatches, load_batches
from clickpose.training.config import TrainConfig
from clickpose.training.cpu import tune_for_cpu
from clickpose.training.loop import train_one_epoch
from clickpose.training.scenes import SceneConfig
from clickpose.training.state import build_state
from integrations.coco import read_coco
from pipeline.dataset import ImageFolder

VARIANTS = {
    "published": [],
    "without noised poses": ["num_denoised=0"],
    "without the loop": ["feedback.probability=0"],
    "without both": ["num_denoised=0", "feedback.probability=0"],
    "left-right inversion, as in the paper": ["denoising.label_noise=0", "denoising.inversion=0.4"],
    "noise weighed by the batch": ["losses.denoising_divisor=batch"],
    "clicks are held": ["feedback.hold=all"],
    "a human's clicks, held": ["feedback.hold=all", "feedback.click_noise=1", "feedback.order=random"],
    "held keypoints are marked": ["feedback.hold=all", "model.mark_held=true"],
    "scores are the quality": ["losses.score_target=oks"],
    "a silent round": ["model.silent_rounds=1"],
    "one to three clicks per round, held": ["feedback.hold=all", "feedback.max_clicks=3"],
    "a rate that drops": ["schedule=step"],
    "a constant rate": ["schedule=constant"],
    "without a moving average": ["ema_decay=0"],
    "a step of two batches": ["accumulate=2"],
    "bfloat16": ["precision=bfloat16"],
}
PUBLISHED_NETWORK = ("mark_held=false", "silent_rounds=0")
SHOWN = ("AP", "AP@C1", "AP@C2", "AP@C4", "clicks@85", "manual_clicks@85", "harm@85")


@dataclass(frozen=True)
class Options:
    """What is trained, and what is measured on."""

    out: Path
    data: Annotated[Path | None, typer.Option(help="COCO keypoint file to train on.")] = None
    measure_on: Annotated[Path | None, typer.Option(help="COCO keypoint file to measure on.")] = None
    images: Annotated[Path | None, typer.Option(help="Folder of the images of both.")] = None
    init: Annotated[Path | None, typer.Option(help="Model folder to start from; by default a tiny new model.")] = None
    reset: Annotated[list[str] | None, typer.Option(help="Prefix of weights that start at random; repeatable.")] = None
    steps: Annotated[int, typer.Option(help="Training steps of each row and seed.")] = 300
    seeds: Annotated[int, typer.Option(help="Trainings of each row.")] = 1
    only: Annotated[list[str] | None, typer.Option(help="Row to train; repeatable; by default all.")] = None
    changes: Annotated[list[str] | None, typer.Option("--set", help="Setting of all rows, name=value; repeatable.")] = (
        None
    )

    def base(self) -> TrainConfig:
        """Return the settings of all rows."""
        config = TrainConfig(
            epochs=1,
            batch_size=4,
            learning_rate=1e-3,
            backbone_learning_rate=1e-3,
            schedule="cosine",
            clip_norm=1.0,
            augment=SceneConfig() if self.data else SceneConfig(canvas_sizes_px=((96, 96),), max_pictures=1),
        )
        return change_settings(replace(config, scenes_per_epoch=self.steps * config.batch_size), self.changes or ())


@takes(Options)
def main(options: Options) -> None:
    tune_for_cpu(1)
    if options.data and options.measure_on and options.images:
        known, held_back = read_coco(options.data), read_coco(options.measure_on)
        load: LoadImage = ImageFolder(str(options.images))
    else:
        known, held_back, load = drawn()
    options.out.mkdir(parents=True, exist_ok=True)
    base, rows, names = options.base(), measured(options.out), options.only or list(VARIANTS)
    for seed in range(options.seeds):
        for name in track([name for name in names if len(rows.get(name, ())) <= seed], f"seed {seed}"):
            of_network = [change.removeprefix("model.") for change in VARIANTS[name] if change.startswith("model.")]
            of_training = [change for change in VARIANTS[name] if not change.startswith("model.")]
            network, skeleton = start(options.init, options.reset or [], known.skeleton, of_network, seed)
            config = change_settings(replace(base, seed=seed), of_training)
            trained = train(network, skeleton, convert_set(known, skeleton), load, config)
            truth = convert_set(held_back, skeleton)
            metrics = evaluate(Predictor(trained, skeleton), truth, load, Simulation(goals=(0.85,)))
            rows.setdefault(name, []).append({key: metrics[key] for key in SHOWN})
            (options.out / "numbers.json").write_text(json.dumps(rows, indent=2) + "\n")
    scenes = base.batch_size * base.accumulate
    show(rows, f"{options.steps} steps of {scenes} scenes, {len(held_back)} images to measure on")


def drawn() -> tuple[AnnotationSet, AnnotationSet, LoadImage]:
    """Draw people to train on, and others to measure on, with different file names."""
    skeleton = Skeleton.load("crowdpose14")
    known, others = (DrawnPeople(skeleton, n, (96, 96), 2, seed) for n, seed in ((64, 0), (8, 1)))
    ours = {image.file_name: people for people in (known, others) for image in people.annotations.images}
    return known.annotations, others.annotations, lambda image: ours[image.file_name].load_image(image)


def measured(out: Path) -> dict[str, list[dict[str, float | None]]]:
    """Read the results of earlier calls: the trainings of each row, by its name."""
    numbers = out / "numbers.json"
    return json.loads(numbers.read_text()) if numbers.is_file() else {}


def start(
    init: Path | None, reset: list[str], skeleton: Skeleton, changes: list[str], seed: int
) -> tuple[ClickPose, Skeleton]:
    """Build the published network with ``changes``; weights are those of ``init``, if given, except ``reset``."""
    model = load_model(init) if init else None
    skeleton = model.skeleton if model else skeleton
    config = change_settings(model.network.config if model else tiny(len(skeleton)), PUBLISHED_NETWORK)
    torch.manual_seed(seed)
    network = ClickPose(change_settings(config, changes))
    if model:
        known, wanted = model.network.state_dict(), network.state_dict()
        kept = {name for name in known.keys() & wanted.keys() if not name.startswith(tuple(reset))}
        network.load_state_dict({name: known[name] if name in kept else wanted[name] for name in wanted})
    return network, skeleton


def train(
    network: ClickPose, skeleton: Skeleton, known: AnnotationSet, load: LoadImage, config: TrainConfig
) -> ClickPose:
    """Train for one epoch, in this process; return the moving average."""
    state = build_state(network, skeleton, config)
    scenes = TrainingBatches(known, load, network.config, config, EpochShare(epoch=0))
    train_one_epoch(state, load_batches(scenes), config, -(-len(scenes) // config.accumulate))
    assert isinstance(state.average, ClickPose)
    return state.average


def show(rows: dict[str, list[dict[str, float | None]]], title: str) -> None:
    table = Table("training", *SHOWN, title=title)
    for name, runs in rows.items():
        table.add_row(name, *(shown([value for run in runs if (value := run[key]) is not None]) for key in SHOWN))
    Console(width=130).print(table)


def shown(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    typer.run(main)
