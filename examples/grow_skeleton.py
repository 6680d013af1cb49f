"""Teach a trained model other keypoints from few images, and measure how much its old ones help (section 4.7).

From 14 keypoints to COCO's 17, whose face starts as the head:

    python examples/grow_skeleton.py models/demo coco_small/coco_small_train.json coco_small/coco_small_val.json \
        coco_small/images runs/coco17 --parent nose=head --parent left_eye=head --parent right_eye=head \
        --parent left_ear=head --parent right_ear=head

To an animal that shares no keypoint with the model: 30 frames to train on, the others to measure on:

    python examples/grow_skeleton.py models/demo mirror_mouse/mirror_mouse.json mirror_mouse/mirror_mouse.json \
        mirror_mouse/images runs/mouse --pictures 30 --limit 60 --epochs 150 --set learning_rate=5e-4

Three models are trained under the same conditions: the grown one; one that keeps everything except the weights of
keypoints, which start at random; and one that keeps its backbone only (in the person's frame, finder and looker).
Average precision and clicks are measured on all keypoints, on those that the old model knew, and on the new ones; the
others lose their labels, so they are neither scored nor clicked. An animal that is not found is added by a box, two
clicks. Each number is from a single run; ``--set seed=1`` makes another.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from clickpose.annotations import AnnotationSet, convert_set, only_keypoints
from clickpose.checkpoints.growing import grow
from clickpose.checkpoints.model_folder import (
    LoadedModel,
    Network,
    build_network,
    config_of,
    load_model,
    save_model,
)
from clickpose.commands.options import takes
from clickpose.commands.settings import change_settings
from clickpose.evaluation import Simulation, evaluate
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig, fine_tuning_for
from clickpose.training.cpu import tune_for_cpu
from integrations.coco import read_coco, write_coco
from pipeline.dataset import ImageFolder
from pipeline.mixture import DataSource
from pipeline.train import TrainJob, train

SHOWN = ("AP", "AP50", "AP@C1", "AP@C4", "clicks@85", "manual_clicks@85")
OF_KEYPOINTS = ("decoder.keypoint_content.weight", "decoder.keypoint_size.weight", "keypoint_label.weight")


@dataclass(frozen=True)
class Options:
    """What is grown, what it is trained on, and what is measured."""

    model: Path
    learn_from: Path
    measure_on: Path
    images: Path
    out: Path
    parent: Annotated[
        list[str] | None, typer.Option(help="new=old: the keypoint that a new one starts from; repeatable.")
    ] = None
    num_images: Annotated[int | None, typer.Option("--pictures", help="Images to train on; by default all.")] = None
    limit: Annotated[int | None, typer.Option(help="Images to measure on; by default all.")] = None
    epochs: Annotated[int, typer.Option(help="Passes over them.")] = 40
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Any training setting, name=value; repeatable.")
    ] = None


@takes(Options)
def main(options: Options) -> None:
    tune_for_cpu(1)
    old, out = load_model(options.model), options.out
    known, held_back = split(
        read_coco(options.learn_from), read_coco(options.measure_on), options.num_images, options.limit
    )
    parents = dict(pair.split("=") for pair in options.parent or ())
    skeleton = replace(known.skeleton, parents={**known.skeleton.parents, **parents})
    config = fine_tuning_for(config_of(old.network).to_dict())
    config = replace(config, epochs=options.epochs, scenes_per_epoch=None, warmup_steps=20)
    config = change_settings(config, options.changes or ())

    out.mkdir(parents=True, exist_ok=True)
    write_coco(known, out / "learn.json")
    images = ImageFolder(str(options.images))
    numbers: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, network in starts(old, skeleton).items():
        trained = train_from(out / name, network, skeleton, DataSource(str(out / "learn.json"), images.root), config)
        predictor = Predictor.load(trained)
        for group, keypoints in groups_of(old.skeleton, skeleton).items():
            truth = only_keypoints(convert_set(held_back, skeleton), keypoints)
            if truth.num_persons:
                metrics = evaluate(predictor, truth, images, Simulation(goals=(0.85,)))
                numbers.setdefault(name, {})[group] = {key: metrics[key] for key in SHOWN}
    (out / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    show(numbers, f"{len(known)} images to train {skeleton.name} on, {len(held_back)} to measure on")


def groups_of(old: Skeleton, new: Skeleton) -> dict[str, set[str]]:
    """Return the names of all keypoints and, if some are shared, of the old and of the new ones."""
    every = set(new.keypoints)
    shared = every & set(old.keypoints)
    return {"all": every} | ({"old": shared, "new": every - shared} if shared else {})


def split(
    known: AnnotationSet, held_back: AnnotationSet, images: int | None, limit: int | None
) -> tuple[AnnotationSet, AnnotationSet]:
    """Choose the images to train on; never measure on one of them."""
    order = np.random.default_rng(0).permutation(len(known))[:images]
    chosen = tuple(known.images[i] for i in order)
    seen = {image.file_name for image in chosen}
    others = tuple(image for image in held_back.images if image.file_name not in seen)
    return replace(known, images=chosen), replace(held_back, images=others[:limit])


def starts(old: LoadedModel, skeleton: Skeleton) -> dict[str, Network]:
    """The models that training starts from; weights that are not copied are random."""
    grown = grow(old.network, old.skeleton, skeleton)
    taken: dict[str, Callable[[str], bool]] = {
        "grown": lambda name: True,
        "random keypoints": lambda name: name not in OF_KEYPOINTS,
        "backbone only": lambda name: name.startswith("backbone."),
    }
    networks = {}
    for start, is_taken in taken.items():
        torch.manual_seed(0)
        networks[start] = build_network(config_of(grown).to_dict())
        weights = {name: weight for name, weight in grown.state_dict().items() if is_taken(name)}
        networks[start].load_state_dict(weights, strict=False)
    return networks


def train_from(folder: Path, network: Network, skeleton: Skeleton, data: DataSource, config: TrainConfig) -> Path:
    """Train for a while; an interrupted training resumes."""
    start = save_model(folder / "start", network, skeleton, metrics={}, card="")
    train(TrainJob(str(start), (data,), config), folder / "model", run=folder / "run")
    return folder / "model"


def show(numbers: dict[str, dict[str, dict[str, float | None]]], title: str) -> None:
    table = Table("start", "keypoints", *SHOWN, title=title)
    for start, groups in numbers.items():
        for group, row in groups.items():
            table.add_row(start, group, *("-" if value is None else f"{value:.3f}" for value in row.values()))
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
