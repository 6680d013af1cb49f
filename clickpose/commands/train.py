"""``clickpose train``: from a COCO keypoint file to a model folder."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.commands.output import JsonFile, write_json
from clickpose.commands.recipes import (
    BatchSize,
    Changes,
    Epochs,
    LearningRate,
    RecipeOption,
    read_config,
    recipe_for,
    training_settings,
)
from clickpose.errors import InvalidConfig

if TYPE_CHECKING:
    from clickpose.skeleton import Skeleton


class Preset(enum.StrEnum):
    """Networks that training can start from scratch."""

    resnet50_coco = "resnet50_coco"
    mobilenet_v2_demo = "mobilenet_v2_demo"
    tiny = "tiny"
    person_frame = "person_frame"


def train(
    data: Annotated[list[str], typer.Argument(help="COCO keypoint files to learn from.")],
    images: Annotated[list[str], typer.Option(help="Folder of their images; one for all files, or one for each.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    run: Annotated[str, typer.Option(help="Folder or URI for checkpoints; the same one goes on where it stopped.")],
    weight: Annotated[
        list[float] | None, typer.Option(help="Share of each file in every epoch, against the others.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Category of DATA to read, where several have keypoints of their own.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Model folder to start from, instead of a preset.")] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(
            help="Keypoints to learn, if not those of DATA or --init: a built-in skeleton's name, or a JSON file."
        ),
    ] = None,
    preset: Annotated[Preset, typer.Option(help="Network to start from scratch.")] = Preset.resnet50_coco,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights (safetensors); without it torchvision downloads its own.")
    ] = None,
    recipe: RecipeOption = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    changes: Changes = None,
    workers: Annotated[int, typer.Option(help="Ray workers, one a GPU; 0 trains in this process.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads, when training in this process without a GPU.")] = 1,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad/--strict", help="Leave bad records and images out and log each, or end at one.")
    ] = True,
    json: JsonFile = None,
) -> None:
    """Train Click-Pose, from scratch or from another model; interrupted, the same command goes on.

    With both --init and --skeleton, the model learns new keypoints: those of the same name keep what they know.
    """
    import torch

    from clickpose.commands.data_sources import data_sources
    from clickpose.skeleton import Skeleton
    from clickpose.training.cpu import tune_for_cpu
    from integrations.coco import read_coco
    from pipeline.train import TrainJob
    from pipeline.train import train as run_training

    if init is None or skeleton is not None:
        wanted_skeleton = (
            Skeleton.load(skeleton) if skeleton else read_coco(data[0], category=category, skip_bad=skip_bad).skeleton
        )
        init = start_model(Path(run) / "start", wanted_skeleton, init, preset, backbone_weights)
    recipe = recipe or recipe_for(read_config(init), is_fine_tune=False)
    config = training_settings(recipe, changes, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    if not workers and not torch.cuda.is_available():
        tune_for_cpu(threads)
    sources = [dataclasses.replace(source, category=category) for source in data_sources(data, images, weight or ())]
    job = TrainJob(str(init), tuple(sources), config, skip_bad=skip_bad)
    result = run_training(job, out, run=run, num_workers=workers)
    typer.echo(f"wrote {result.folder}: " + ", ".join(f"{k} {v:.3f}" for k, v in sorted(result.metrics.items())))
    write_json(json, dataclasses.asdict(result))


def start_model(
    folder: Path, skeleton: Skeleton, init: Path | None, preset: Preset, backbone_weights: Path | None
) -> Path:
    """Write the model that training starts from; one that is there from a run begun before is kept.

    Raises:
        InvalidConfig: the run was begun with another skeleton.
    """
    from clickpose.checkpoints.model_folder import load_model

    if (folder / "config.json").exists():
        if (begun := load_model(folder).skeleton) != skeleton:
            raise InvalidConfig(f"{folder.parent} was begun with skeleton {begun.name!r}: choose a fresh run")
        return folder
    if init is None:
        return new_model(folder, skeleton, preset, backbone_weights)
    return grow_model(folder, init, skeleton)


def new_model(folder: Path, skeleton: Skeleton, preset: Preset, backbone_weights: Path | None) -> Path:
    """Write an untrained model: with an ImageNet backbone, or, in the person's frame, behind frozen networks."""
    import torch
    from safetensors import SafetensorError

    from clickpose import model as models
    from clickpose.checkpoints.model_folder import save_model
    from clickpose.model.backbone import load_imagenet
    from clickpose.person_frame.config import PersonFrameConfig
    from clickpose.person_frame.network import PersonFrameNetwork

    torch.manual_seed(0)
    if preset is Preset.person_frame:
        card = "# Untrained\n\nPose layers for a finder and a looker that were trained on COCO.\n"
        return save_model(folder, PersonFrameNetwork(PersonFrameConfig(len(skeleton))), skeleton, metrics={}, card=card)
    network = models.ClickPose(getattr(models, preset.value)(len(skeleton)))
    try:
        load_imagenet(network.backbone, network.config.backbone, backbone_weights)
    except (OSError, SafetensorError) as error:
        raise InvalidConfig(f"{backbone_weights or 'the ImageNet weights'} cannot be read: {error}") from error
    return save_model(folder, network, skeleton, metrics={}, card="# Untrained\n\nImageNet backbone, nothing else.\n")


def grow_model(folder: Path, init: Path, skeleton: Skeleton) -> Path:
    """Write a trained model with the keypoints of another skeleton."""
    from clickpose.checkpoints.growing import grow, origins
    from clickpose.checkpoints.model_folder import load_model, save_model

    old = load_model(init)
    network = grow(old.network, old.skeleton, skeleton)
    card = (
        f"# Grown\n\n`{init}` ({old.skeleton.name}) with the keypoints of {skeleton.name}, not trained on them yet.\n"
    )
    if started := [f"{name} from {origin}" for name, origin in origins(old.skeleton, skeleton).items()]:
        typer.echo(f"new keypoints start from their parents in skeleton {skeleton.name!r}: {', '.join(started)}")
        card += f"\nNew keypoints: {', '.join(started)}.\n"
    return save_model(folder, network, skeleton, metrics={}, card=card)
