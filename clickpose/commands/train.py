"""``clickpose train``: from a COCO keypoint file to a model folder."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clickpose.checkpoints.files import CONFIG, read_config, skeleton_of
from clickpose.commands.locations import readable_file, readable_folder, written
from clickpose.commands.options import takes
from clickpose.commands.output import JsonFile, write_json
from clickpose.commands.recipes import RecipeOptions
from clickpose.commands.workers import WorkerOptions
from clickpose.errors import InvalidConfig

if TYPE_CHECKING:
    from clickpose.skeleton import Skeleton
    from clickpose.training.config import TrainConfig
    from pipeline.train import TrainJob

START = "start"  # in the folder of a run: the model that training started from


class Preset(enum.StrEnum):
    """Networks that training can start from scratch."""

    resnet50_coco = "resnet50_coco"
    mobilenet_v2_demo = "mobilenet_v2_demo"
    tiny = "tiny"
    person_frame = "person_frame"


@dataclass(frozen=True)
class TrainOptions:
    """What is trained, on what, and how."""

    data: Annotated[list[str], typer.Argument(help="COCO keypoint files to learn from.")]
    images: Annotated[list[str], typer.Option(help="Folder of their images; one for all files, or one for each.")]
    out: Annotated[str, typer.Option(help="Model folder to write.")]
    run: Annotated[str, typer.Option(help="Folder or URI for checkpoints; give the same one to resume.")]
    weight: Annotated[list[float] | None, typer.Option(help="Weight of each file in every epoch.")] = None
    num_images: Annotated[
        int | None, typer.Option("--pictures", help="Number of images to learn from in each file, drawn at random.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Random seed of that draw and of the training.")] = None
    category: Annotated[
        str | None, typer.Option(help="Category of DATA to read, if several have keypoints of their own.")
    ] = None
    init: Annotated[
        Path | None, typer.Option(help="Model folder to start from, instead of a preset.", parser=readable_folder)
    ] = None
    skeleton: Annotated[
        str | None,
        typer.Option(
            help="Keypoints to learn, if not those of DATA or --init: a built-in skeleton's name, or a JSON file."
        ),
    ] = None
    preset: Annotated[Preset, typer.Option(help="Network to train from scratch.")] = Preset.resnet50_coco
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            help="ImageNet weights (safetensors); by default torchvision downloads its own.", parser=readable_file
        ),
    ] = None
    recipe: RecipeOptions = field(default_factory=RecipeOptions)
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    threads: Annotated[int, typer.Option(help="CPU threads for training in this process without a GPU.")] = 1
    val: Annotated[
        str | None, typer.Option(help="COCO file to measure on after every epoch; the best epoch is kept as OUT-best.")
    ] = None
    val_images: Annotated[str | None, typer.Option(help="Folder of its images, if not that of the file.")] = None
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad/--strict", help="Skip and log bad records and images, or stop at the first one."),
    ] = True
    json: JsonFile = None


@takes(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train Click-Pose, from scratch or from another model; run it again to resume.

    With both --init and --skeleton, the model learns new keypoints: those with the same name keep their weights.
    """
    import torch

    from clickpose.training.config import training_for
    from clickpose.training.cpu import tune_for_cpu
    from pipeline.train import train as run_training

    start = start_model(options)
    config = options.recipe.settings(training_for(read_config(readable_folder(start))))
    if not options.workers.workers and not torch.cuda.is_available():
        tune_for_cpu(options.threads)
    job = training_job(options, start, config)
    with written(options.out) as out:
        result = run_training(
            job,
            out,
            run=options.run,
            num_workers=options.workers.workers,
            max_failures=options.workers.max_failures,
            gpus_per_worker=options.workers.gpus_per_worker,
        )
    result = replace(result, folder=options.out, best=f"{options.out}-best" if result.best else None)
    if result.best:
        typer.echo(f"wrote {result.best}: the epoch with the fewest clicks")
    typer.echo(f"wrote {result.folder}: " + ", ".join(f"{k} {v:.3f}" for k, v in sorted(result.metrics.items())))
    write_json(options.json, asdict(result))


def training_job(options: TrainOptions, start: str, config: TrainConfig) -> TrainJob:
    """Return what every training worker is given."""
    from clickpose.commands.data_sources import data_sources
    from pipeline.train import TrainJob

    sources = data_sources(options.data, options.images, options.weight or ())
    chosen = tuple(
        replace(source, category=options.category, num_images=options.num_images, seed=options.seed or 0)
        for source in sources
    )
    val = data_sources([options.val], [options.val_images] if options.val_images else ())[0] if options.val else None
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    return TrainJob(start, chosen, config, skip_bad=options.skip_bad, val=val)


def start_model(options: TrainOptions) -> str:
    """Return the path or URI of the model that training starts from: --init, or one written at the start of the run.

    Raises:
        InvalidConfig: the run was started with another skeleton.
    """
    from pipeline.store import Store

    if options.init is not None and options.skeleton is None:
        return str(options.init)
    store, skeleton = Store(options.run), wanted_skeleton(options)
    start = store.uri_of(START)
    if store.exists(f"{START}/{CONFIG}"):
        if (found := skeleton_of(readable_folder(start))) != skeleton:
            raise InvalidConfig(f"{options.run} was started with skeleton {found.name!r}: choose a new --run")
        return start
    with written(start) as folder:
        if options.init is None:
            new_model(folder, skeleton, options.preset, options.backbone_weights)
        else:
            grow_model(folder, options.init, skeleton)
    return start


def wanted_skeleton(options: TrainOptions) -> Skeleton:
    """Return the skeleton to learn: the one that was named, else that of the data."""
    from clickpose.skeleton import Skeleton
    from pipeline.dataset import read_annotations

    if options.skeleton:
        return Skeleton.load(options.skeleton)
    return read_annotations(options.data[0], category=options.category, skip_bad=options.skip_bad).skeleton


def new_model(folder: Path, skeleton: Skeleton, preset: Preset, backbone_weights: Path | None) -> Path:
    """Write an untrained model: with a backbone trained on ImageNet or on poses, or behind frozen networks."""
    import torch
    from safetensors import SafetensorError

    from clickpose import model as models
    from clickpose.checkpoints.model_folder import save_model
    from clickpose.first_guess.networks import movenet_backbone
    from clickpose.model.backbone import load_backbone, load_imagenet
    from clickpose.person_frame.config import PersonFrameConfig
    from clickpose.person_frame.network import PersonFrameNetwork

    torch.manual_seed(0)
    if preset is Preset.person_frame:
        card = "# Untrained\n\nPose layers for a finder and a looker that were trained on COCO.\n"
        return save_model(folder, PersonFrameNetwork(PersonFrameConfig(len(skeleton))), skeleton, metrics={}, card=card)
    network = models.ClickPose(getattr(models, preset.value)(len(skeleton)))
    if network.config.backbone_padding == "end" and backbone_weights is None:
        load_backbone(network.backbone, movenet_backbone(), "MoveNet Lightning")
        return save_model(folder, network, skeleton, metrics={}, card="# Untrained\n\nMoveNet Lightning's backbone.\n")
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
        typer.echo(f"new keypoints of skeleton {skeleton.name!r} start so: {', '.join(started)}")
        card += f"\nNew keypoints: {', '.join(started)}.\n"
    return save_model(folder, network, skeleton, metrics={}, card=card)
