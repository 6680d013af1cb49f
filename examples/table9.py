"""The paper's table 9 in the person's frame: what disturbed poses and rounds with clicks add, as training gets longer.

    python -m examples.table9 runs/table9 coco_people/train.json lspet17/train.json \\
        --images coco_people/images --images lspet14/images --weight 1 --weight .25 \\
        --measure-on coco_people/dev.json --measure-images coco_people/images --epochs 10

The paper models pose errors (it trains on noised poses), and plays the feedback loop in training. In the person's frame
the first is the share of persons who start from a disturbed truth or with left and right swapped, the second the rounds
after clicks. A row without clicks learns from a single round, without any; a row without disturbed poses always starts
from the first guesses.

All rows start from the same random pose layers, see the same persons in the same crops, and are trained in turn, an
epoch each, at a constant rate: so they can be compared at any time, and ``--epochs`` can be raised later. Run the
command again to resume; ``numbers.json`` keeps what was measured, ``--seed`` trains all rows once more.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from clickpose.annotations import AnnotationSet
from clickpose.commands.data_sources import data_sources
from clickpose.commands.options import takes
from clickpose.commands.settings import change_settings
from clickpose.evaluation.click_cost import CostMeter
from clickpose.evaluation.report import ShownPrecision
from clickpose.evaluation.visits import visit_images
from clickpose.first_guess.networks import make_finder, make_looker
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.predictor import Predictor
from clickpose.training.batches import load_batches
from clickpose.training.config import TrainConfig, person_frame_training
from clickpose.training.cpu import tune_for_cpu
from clickpose.training.loop import train_one_epoch
from clickpose.training.person_frame.drawing import CropDrawer
from clickpose.training.person_frame.epochs import CropEpochs, CropSource, default_cache
from clickpose.training.person_frame.settings import DrawConfig
from clickpose.training.state import TrainState, build_state
from integrations.coco import read_coco
from pipeline.dataset import ImageFolder
from pipeline.mixture import Mixture, open_mixture

NO_CLICKS = ["loop.rounds=[1]", "loop.first_clicks=[0]"]
NO_DISTURBED = ["loop.disturbed_share=0", "loop.mirrored_share=0"]
ROWS = {
    "neither": NO_CLICKS + NO_DISTURBED,
    "disturbed poses": NO_CLICKS,
    "rounds with clicks": NO_DISTURBED,
    "both": [],
}
GOAL = 0.85

SHOWN = ("AP", "clicks", "by hand", "saved", "harm", "help")

Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What is trained, and what is measured on."""

    out: Path
    data: Annotated[list[str], typer.Argument(help="COCO keypoint files to train on.")]
    images: Annotated[list[str], typer.Option(help="Folder of the images of each.")]
    measure_on: Annotated[Path, typer.Option(help="COCO keypoint file to measure on.")]
    measure_images: Annotated[Path, typer.Option(help="Folder of its images.")]
    weight: Annotated[list[float] | None, typer.Option(help="Weight of each file in every epoch.")] = None
    measured: Annotated[int | None, typer.Option(help="Measure on the first images only, so many.")] = None
    epochs: Annotated[int, typer.Option(help="Epochs of each row.")] = 10
    persons: Annotated[int, typer.Option(help="Persons per epoch.")] = 10_240
    every: Annotated[int, typer.Option(help="Measure after every so many epochs.")] = 2
    seed: Annotated[int, typer.Option(help="Random seed of the pose layers, the persons and the clicks.")] = 0
    changes: Annotated[list[str] | None, typer.Option("--set", help="Setting of all rows, name=value; repeatable.")] = (
        None
    )

    def base(self) -> TrainConfig:
        """Return the settings of all rows."""
        config = person_frame_training(schedule="constant", scenes_per_epoch=self.persons, seed=self.seed)
        return change_settings(config, self.changes or ())


@takes(Options)
def main(options: Options) -> None:
    tune_for_cpu(1)
    options.out.mkdir(parents=True, exist_ok=True)
    held_back = read_coco(options.measure_on)
    held_back = replace(held_back, images=held_back.images[: options.measured])
    data = open_mixture(data_sources(options.data, options.images, options.weight or ()), held_back.skeleton)
    numbers = options.out / "numbers.json"
    measured: list[Record] = json.loads(numbers.read_text()) if numbers.is_file() else []
    for epoch in range(options.epochs):
        for name in ROWS:
            state = train(name, epoch, data, options)
            row = {"training": name, "seed": options.seed, "persons": (epoch + 1) * options.persons}
            is_due = (epoch + 1) % options.every == 0 and state.first_epoch == epoch + 1  # not trained further already
            if is_due and not any(row.items() <= known.items() for known in measured):
                measured.append(row | measure(state, held_back, ImageFolder(str(options.measure_images))))
                numbers.write_text(json.dumps(measured, indent=2) + "\n")
    show(measured, f"{len(held_back)} images to measure on")


def train(name: str, epoch: int, data: Mixture, options: Options) -> TrainState:
    """Return a row's state after an epoch, or a later one that an earlier call kept."""
    config = change_settings(options.base(), ROWS[name])
    torch.manual_seed(options.seed)
    network = PersonFrameNetwork(PersonFrameConfig(len(data.skeleton)))
    torch.nn.init.zeros_(network.get_parameter("held_mark"))  # rows without clicks never train it
    state = build_state(network, data.skeleton, config)
    kept = options.out / f"{name.replace(' ', '-')}-{options.seed}.pt"
    if kept.is_file():
        state.load_state_dict(torch.load(kept))
    if state.first_epoch <= epoch:
        batches = crops(config, network.frame_config.looker, data).batches(epoch)
        train_one_epoch(state, load_batches(batches), config, len(batches))
        state.first_epoch = epoch + 1
        torch.save(state.state_dict(epoch + 1), kept)
    return state


def crops(config: TrainConfig, looker: str, data: Mixture) -> CropEpochs:
    """Return the epochs of crops; a crop is drawn once for all rows, and kept."""
    assert isinstance(config.augment, DrawConfig)
    device = torch.device("cpu")
    drawer = CropDrawer(make_finder(device), make_looker(looker, device), config.augment)
    sources = [CropSource(part, source.weight) for part, source in zip(data.parts, data.sources, strict=True)]
    return CropEpochs(sources, data.load_image, drawer, config, default_cache())


def measure(state: TrainState, truth: AnnotationSet, load: ImageFolder) -> Record:
    """Count the clicks that the average of the weights costs, with its answers and by hand."""
    assert isinstance(state.average, PersonFrameNetwork)
    predictor = Predictor(state.average, truth.skeleton)
    precision, cost = ShownPrecision(), CostMeter(predictor, GOAL)
    visit_images(predictor, truth, load, [precision, cost])
    clicks = cost.result()
    return {
        "AP": precision.result(truth)["AP"],
        "clicks": clicks.mean_clicks,
        "by hand": clicks.manual_mean_clicks,
        "saved": 1 - clicks.mean_clicks / clicks.manual_mean_clicks,
        "harm": clicks.harm,
        "help": clicks.help,
    }


def show(measured: list[Record], title: str) -> None:
    table = Table("training", "seed", "persons", *SHOWN, title=title)
    for row in measured:
        table.add_row(row["training"], str(row["seed"]), str(row["persons"]), *(f"{row[key]:.3f}" for key in SHOWN))
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
