"""``clickpose train``: from a COCO keypoint file to a model folder."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from clickpose.commands.output import JsonFile, write_json


class Preset(enum.StrEnum):
    """Networks that training can start from scratch."""

    resnet50_coco = "resnet50_coco"
    mobilenet_v2_demo = "mobilenet_v2_demo"
    tiny = "tiny"


class Recipe(enum.StrEnum):
    """Training settings to start from; the names are those of functions."""

    published = "published"
    demo_training = "demo"
    demo_finishing = "demo-finishing"
    fine_tuning = "fine-tuning"


def train(
    data: Annotated[Path, typer.Argument(help="COCO keypoint file to learn from.")],
    images: Annotated[Path, typer.Option(help="Folder of its pictures.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    run: Annotated[str, typer.Option(help="Folder or URI for checkpoints; the same one goes on where it stopped.")],
    init: Annotated[Path | None, typer.Option(help="Model folder to start from, instead of a preset.")] = None,
    preset: Annotated[Preset, typer.Option(help="Network to start from scratch.")] = Preset.resnet50_coco,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights (safetensors); without it torchvision downloads its own.")
    ] = None,
    recipe: Annotated[Recipe, typer.Option(help="Training settings to start from.")] = Recipe.published,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Scenes a batch and worker.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    workers: Annotated[int, typer.Option(help="Ray workers, one a GPU; 0 trains in this process.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads, when training in this process without a GPU.")] = 1,
    json: JsonFile = None,
) -> None:
    """Train Click-Pose, from scratch or from another model; interrupted, the same command goes on."""
    import torch

    from clickpose.engine import tune_for_cpu
    from clickpose.training import config as recipes
    from pipeline.train import TrainJob
    from pipeline.train import train as run_training

    config = getattr(recipes, recipe.name)()
    wanted: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    config = dataclasses.replace(config, **{name: value for name, value in wanted.items() if value is not None})
    start = init or new_model(Path(run) / "start", data, preset, backbone_weights)
    if not workers and not torch.cuda.is_available():
        tune_for_cpu(threads)
    result = run_training(TrainJob(str(start), str(data), str(images), config), out, run=run, num_workers=workers)
    typer.echo(f"wrote {result.folder}: " + ", ".join(f"{k} {v:.3f}" for k, v in sorted(result.metrics.items())))
    write_json(json, dataclasses.asdict(result))


def new_model(folder: Path, data: Path, preset: Preset, backbone_weights: Path | None) -> Path:
    """Write an untrained model for a data set's skeleton, with an ImageNet backbone; an existing one is kept."""
    import torch

    from clickpose import model as models
    from clickpose.model.backbone import load_imagenet
    from clickpose.model_folder import save_model
    from integrations.coco import read_coco

    if (folder / "config.json").exists():
        return folder
    torch.manual_seed(0)
    skeleton = read_coco(data).skeleton
    network = models.ClickPose(getattr(models, preset.value)(len(skeleton)))
    load_imagenet(network.backbone, network.config.backbone, backbone_weights)
    return save_model(folder, network, skeleton, metrics={}, card="# Untrained\n\nImageNet backbone, nothing else.\n")
