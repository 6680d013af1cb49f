"""Teach a trained model other keypoints from few pictures, and see what its old ones are worth (section 4.7).

From 14 keypoints to COCO's 17, whose face begins as the head:

    python examples/grow_skeleton.py models/demo coco_small/coco_small_train.json coco_small/coco_small_val.json \
        coco_small/images runs/coco17 --parent nose=head --parent left_eye=head --parent right_eye=head \
        --parent left_ear=head --parent right_ear=head

To an animal, of which the model knows no keypoint: 30 frames to learn from, the others to measure on:

    python examples/grow_skeleton.py models/demo mirror_mouse/mirror_mouse.json mirror_mouse/mirror_mouse.json \
        mirror_mouse/images runs/mouse --pictures 30 --limit 60 --epochs 150 --set learning_rate=5e-4

Three models are trained alike: the grown one; one that keeps all but the weights of keypoints, which begin at random;
and one that keeps its backbone only. Average precision and clicks are measured on all keypoints, on those that the
old model knew, and on the new ones: a keypoint that is not asked for loses its label, so it is neither scored nor
clicked. One run of each is one sample; ``--set seed=1`` makes another.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from clickpose.annotations import AnnotationSet, convert_set, only_keypoints
from clickpose.checkpoints.growing import grow
from clickpose.checkpoints.model_folder import LoadedModel, load_model, save_model
from clickpose.commands.settings import change_settings
from clickpose.evaluation import evaluate
from clickpose.model import ClickPose
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig, fine_tuning
from clickpose.training.cpu import tune_for_cpu
from integrations.coco import read_coco, write_coco
from pipeline.dataset import PictureFolder
from pipeline.mixture import DataSource
from pipeline.train import TrainJob, train

SHOWN = ("AP", "AP50", "AP@C1", "AP@C4", "clicks@85", "manual_clicks@85")
OF_KEYPOINTS = ("decoder.keypoint_content.weight", "decoder.keypoint_size.weight", "keypoint_label.weight")


def main(
    model: Path,
    learn_from: Path,
    measure_on: Path,
    images: Path,
    out: Path,
    parent: Annotated[list[str], typer.Option(help="new=old: the keypoint that a new one starts from.")] = [],  # noqa: B006
    pictures: Annotated[int | None, typer.Option(help="Pictures to learn from; None takes all.")] = None,
    limit: Annotated[int | None, typer.Option(help="Pictures to measure on; None takes all.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over them.")] = 40,
    changes: Annotated[list[str], typer.Option("--set", help="Any training setting: name=value.")] = [],  # noqa: B006
) -> None:
    tune_for_cpu(1)
    old = load_model(model)
    known, held_back = split(read_coco(learn_from), read_coco(measure_on), pictures, limit)
    skeleton = replace(known.skeleton, parents=known.skeleton.parents | dict(pair.split("=") for pair in parent))
    shared = {name for name in skeleton.keypoints if name in old.skeleton.keypoints}
    groups = {"all": set(skeleton.keypoints)}
    if shared:
        groups |= {"old": shared, "new": groups["all"] - shared}
    config = change_settings(fine_tuning(epochs=epochs, scenes_per_epoch=None, warmup_steps=20), changes)

    out.mkdir(parents=True, exist_ok=True)
    write_coco(known, out / "learn.json")
    numbers: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, network in starts(old, skeleton).items():
        predictor = Predictor.load(train_from(out / name, network, skeleton, out / "learn.json", images, config))
        for group, keypoints in groups.items():
            truth = only_keypoints(convert_set(held_back, skeleton), keypoints)
            if truth.num_persons:
                metrics = evaluate(predictor, truth, PictureFolder(str(images)), goals=(0.85,))
                numbers.setdefault(name, {})[group] = {key: metrics[key] for key in SHOWN}
    (out / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    show(numbers, f"{len(known)} pictures to learn {skeleton.name} from, {len(held_back)} to measure on")


def split(
    known: AnnotationSet, held_back: AnnotationSet, pictures: int | None, limit: int | None
) -> tuple[AnnotationSet, AnnotationSet]:
    """Choose the pictures to learn from; never measure on one of them."""
    order = np.random.default_rng(0).permutation(len(known))[:pictures]
    chosen = tuple(known.images[i] for i in order)
    seen = {image.file_name for image in chosen}
    others = tuple(image for image in held_back.images if image.file_name not in seen)
    return replace(known, images=chosen), replace(held_back, images=others[:limit])


def starts(old: LoadedModel, skeleton: Skeleton) -> dict[str, ClickPose]:
    """Where training may start from; weights that are not taken over are drawn at random."""
    grown = grow(old.network, old.skeleton, skeleton)
    taken = {
        "grown": lambda name: True,
        "random keypoints": lambda name: name not in OF_KEYPOINTS,
        "backbone only": lambda name: name.startswith("backbone."),
    }
    networks = {}
    for start, is_taken in taken.items():
        torch.manual_seed(0)
        networks[start] = ClickPose(grown.config)
        weights = {name: weight for name, weight in grown.state_dict().items() if is_taken(name)}
        networks[start].load_state_dict(weights, strict=False)
    return networks


def train_from(
    folder: Path, network: ClickPose, skeleton: Skeleton, data: Path, images: Path, config: TrainConfig
) -> Path:
    """Train for a while; interrupted, it goes on where it was."""
    start = save_model(folder / "start", network, skeleton, metrics={}, card="")
    train(TrainJob(str(start), (DataSource(str(data), str(images)),), config), folder / "model", run=folder / "run")
    return folder / "model"


def show(numbers: dict[str, dict[str, dict[str, float | None]]], title: str) -> None:
    table = Table("start", "keypoints", *SHOWN, title=title)
    for start, groups in numbers.items():
        for group, row in groups.items():
            table.add_row(start, group, *("-" if value is None else f"{value:.3f}" for value in row.values()))
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
