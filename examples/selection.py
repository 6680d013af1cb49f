"""Which images to annotate next: rounds of choosing, annotating and training, simulated for each criterion.

    python -m examples.selection runs/selection coco_people/train.json --images coco_people/images \\
        --measure-on coco_people/dev.json --plot docs/selection.png

All criteria of a seed start from the same images, drawn at random. In each round the model labels the images that are
left, a criterion chooses some, and pose layers of random weights learn from all images chosen so far: the same number
of steps in every round, so that a difference comes from the images alone. The networks that find and look stay as they
are. Clicks are those to an OKS of .85 per person, on crops of annotated persons: nobody is missed or shown twice. By
default the layers learn and are measured without clicks, by what is left to correct by hand; with ``--answers`` they
learn to answer clicks, which takes three times as long, and clicks with their answers are counted, too.

Run the command again to resume, or with more rounds, seeds or criteria to add to what was measured: ``numbers.json``
keeps it. An image costs more the more persons it shows, so persons and clicks to annotate them are counted, too.
"""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy.optimize import isotonic_regression

from clickpose.annotations import AnnotationSet, Pose
from clickpose.commands.options import takes
from clickpose.commands.settings import change_settings
from clickpose.expected_clicks import expected_clicks
from clickpose.first_guess.networks import make_finder, make_looker
from clickpose.inference import prepare_loop
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.maps import MapAttention
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from clickpose.training.batches import load_batches
from clickpose.training.config import TrainConfig, person_frame_training
from clickpose.training.cpu import tune_for_cpu
from clickpose.training.loop import train_one_epoch
from clickpose.training.person_frame.batches import CropBatches, KeptCrops
from clickpose.training.person_frame.drawing import CropDrawer
from clickpose.training.person_frame.epochs import default_cache
from clickpose.training.person_frame.settings import DrawConfig, LoopConfig
from clickpose.training.state import build_state
from examples.annotated_crops import SIZE_WH, Annotating, in_parts, poses_of
from integrations.coco import read_coco
from pipeline.candidates import read_candidates
from pipeline.dataset import ImageFolder
from pipeline.listing import ListedImage
from pipeline.prelabelled import Prelabel
from pipeline.selection import select
from pipeline.stability import movement

SILENT = LoopConfig(rounds=(1,), first_clicks=(0,), disturbed_share=0, mirrored_share=0)
CRITERIA = ["random", "expected-clicks", "likelihood", "mix", "core-set", "least-score", "loop"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What is chosen from, how much is trained, and what is measured on."""

    out: Path
    data: Annotated[Path, typer.Argument(help="COCO keypoint file to choose from.")]
    images: Annotated[Path, typer.Option(help="Folder of the images of both.")]
    measure_on: Annotated[Path, typer.Option(help="COCO keypoint file to measure on.")]
    pool: Annotated[int, typer.Option(help="Choose from the first images only, so many.")] = 1280
    start: Annotated[int, typer.Option(help="Images at the beginning, drawn at random.")] = 200
    add: Annotated[int, typer.Option(help="Images that a round adds.")] = 200
    rounds: Annotated[int, typer.Option(help="Rounds.")] = 5
    seeds: Annotated[int, typer.Option(help="Runs of each criterion.")] = 3
    by: Annotated[list[str] | None, typer.Option(help="Criterion; repeatable; by default all.")] = None
    steps: Annotated[int, typer.Option(help="Training steps of a round.")] = 500
    network: Annotated[list[str] | None, typer.Option(help="Setting of the pose layers, name=value; repeatable.")] = (
        None
    )
    changes: Annotated[list[str] | None, typer.Option("--set", help="Setting of training, name=value.")] = None
    answers: Annotated[bool, typer.Option("--answers", help="Learn to answer clicks, and count those needed then.")] = (
        False
    )
    plot: Annotated[Path | None, typer.Option(help="Plot to write.")] = None

    def training(self, seed: int) -> TrainConfig:
        """Return the settings of one training."""
        loop = LoopConfig() if self.answers else SILENT
        config = person_frame_training(epochs=1, batch_size=32, learning_rate=3e-3, ema_decay=0.98, warmup_steps=20)
        return replace(change_settings(replace(config, loop=loop), self.changes or ()), seed=seed)


@dataclass(frozen=True)
class Learned:
    """Pose layers, and the names of the images that they learned from."""

    names: list[str]
    network: PersonFrameNetwork


@takes(Options)
def main(options: Options) -> None:
    tune_for_cpu(1)
    options.out.mkdir(parents=True, exist_ok=True)
    known = read_coco(options.data)
    pool = draw(replace(known, images=known.images[: options.pool]), options.images)
    held_back = draw(read_coco(options.measure_on), options.images)
    numbers = options.out / "numbers.json"
    measured: list[Record] = json.loads(numbers.read_text()) if numbers.is_file() else []
    for seed, number in itertools.product(range(options.seeds), range(options.rounds + 1)):
        learned: Learned | None = None
        for by in options.by or CRITERIA:
            earlier = {row["round"]: row for row in measured if (row["by"], row["seed"]) == (by, seed)}
            if number not in earlier:
                names = earlier[number - 1]["chosen"] if number else starting(pool, seed, options.start)
                if learned is None or learned.names != names:  # all criteria start from the same images
                    learned = Learned(names, train(pool, names, seed, options))
                row = play(by, learned, pool, held_back, seed, options)
                measured.append({"by": by, "seed": seed, "round": number} | row)
                numbers.write_text(json.dumps(measured) + "\n")
    show(measured)
    if options.plot:
        plot(measured, options.plot)


def draw(annotations: AnnotationSet, images: Path) -> KeptCrops:
    """Return a crop of every person, drawn once and kept."""
    device = torch.device("cpu")
    drawer = CropDrawer(make_finder(device), make_looker("thunder", device), DrawConfig())
    return KeptCrops(list(drawer.draw(annotations, ImageFolder(str(images)), default_cache(), 0)))


def starting(pool: KeptCrops, seed: int, count: int) -> list[str]:
    """Draw the first images at random."""
    names = sorted(set(pool.names))
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]]


def play(by: str, learned: Learned, pool: KeptCrops, held_back: KeptCrops, seed: int, options: Options) -> Record:
    """Measure what was learned, and choose further images."""
    names, network = learned.names, learned.network
    clicks = count_clicks(network, held_back, answers=options.answers)
    labelled = label(network, pool)
    candidates = read_candidates((one for one, _ in labelled), frozenset(names))
    wanted = {choice.name for choice in select(candidates, options.add, by, seed=seed)}
    return {
        "images": len(names),
        "persons": sum(name in set(names) for name in pool.names),
        **clicks,
        "next costs": sum(cost for one, cost in labelled if one.image.name in wanted),
        "chosen": [*names, *sorted(wanted)],
    }


def train(pool: KeptCrops, names: Sequence[str], seed: int, options: Options) -> PersonFrameNetwork:
    """Train pose layers from random weights on the persons of some images; return the average of the weights."""
    skeleton, config = Skeleton.load("coco17"), options.training(seed)
    torch.manual_seed(seed)
    network = PersonFrameNetwork(change_settings(PersonFrameConfig(len(skeleton)), options.network or ()))
    state = build_state(network, skeleton, config)
    chosen = set(names)
    weights = torch.tensor([float(name in chosen) for name in pool.names])
    batches = CropBatches(pool, config.batch_size, options.steps, seed, weights)
    train_one_epoch(state, load_batches(batches), config, options.steps)
    assert isinstance(state.average, PersonFrameNetwork)
    return prepare_loop(state.average, read=(0, -1), keep=MapAttention)


@torch.inference_mode()
def count_clicks(network: PersonFrameNetwork, crops: KeptCrops, *, answers: bool) -> Record:
    """Return the mean clicks per person by hand, and with the network's answers if asked for."""
    counts = defaultdict(list)
    for some in in_parts(range(len(crops))):
        persons = Annotating(network, crops.batch(some))
        counts["by hand"].append(persons.clicks_by_hand())
        if answers:
            counts["with answers"].append(persons.clicks())
    return {name: torch.cat(parts).mean().item() for name, parts in counts.items()}


@torch.inference_mode()
def label(network: PersonFrameNetwork, crops: KeptCrops) -> list[tuple[Prelabel, float]]:
    """Describe every image as pre-labelling does, and count the clicks that correcting it takes by hand."""
    found: dict[str, list[tuple[Pose, Pose, float, list[float]]]] = defaultdict(list)
    for some in in_parts(range(len(crops))):
        persons = Annotating(network, crops.batch(some))
        before, costs = poses_of(persons), persons.clicks_by_hand().tolist()
        looks = persons.batch.maps[-1].float().mean((1, 2)).tolist()
        persons.answer()
        for number, *person in zip(some, before, poses_of(persons), costs, looks, strict=True):
            found[crops.names[number]].append(tuple(person))
    labelled = []
    for name, people in found.items():
        poses, again, clicks, seen = zip(*people, strict=True)
        one = Prelabel(
            ListedImage(name, name=name),
            SIZE_WH,
            poses,
            model_version="",
            expected_clicks=expected_clicks(poses),
            movement=movement(poses, again),
            appearance=tuple(np.mean(seen, axis=0)),
        )
        labelled.append((one, sum(clicks)))
    return labelled


def by_round(measured: list[Record], value: str) -> dict[str, list[list[float]]]:
    """Return a value of all seeds for each round, by criterion."""
    rounds: dict[str, list[list[float]]] = {}
    for row in sorted(measured, key=lambda row: (row["round"], row["seed"])):
        of_criterion = rounds.setdefault(row["by"], [])
        of_criterion += [[] for _ in range(row["round"] + 1 - len(of_criterion))]
        of_criterion[row["round"]].append(row[value])
    return rounds


def images_needed(clicks: Sequence[float], images: Sequence[float], goal: float) -> float:
    """Return how many images bring the clicks per person down to a goal; infinity where they never do.

    Trainings differ by chance: the curve that falls, and lies nearest to what was measured, is read between its points.
    """
    falling = isotonic_regression(clicks, increasing=False).x
    reached = np.flatnonzero(falling <= goal + 1e-9)
    if not len(reached) or not (after := reached[0]):
        return images[0] if len(reached) else math.inf
    return float(np.interp(-goal, -falling[after - 1 : after + 1], images[after - 1 : after + 1]))


def as_good_as_random(measured: list[Record], value: str) -> dict[str, list[float]]:
    """Return for each criterion how many images give what all those drawn at random give: mean of seeds, then each."""
    rounds, images = by_round(measured, value), [seeds[0] for seeds in by_round(measured, "images")["random"]]

    def of_seed(curve: list[list[float]], seed: int | None) -> list[float]:
        return [mean(seeds) if seed is None else seeds[seed] for seeds in curve]

    needed: dict[str, list[float]] = {}
    for by, curve in rounds.items():
        for seed in (None, *range(len(min(curve, key=len)))):
            ends = isotonic_regression(of_seed(rounds["random"], seed), increasing=False).x[-1]
            needed.setdefault(by, []).append(images_needed(of_seed(curve, seed), images, ends))
    return needed


def show(measured: list[Record]) -> None:
    """Print clicks per person after each round, and how many images give what all those drawn at random give."""
    for value in ("by hand", "with answers") if "with answers" in measured[0] else ("by hand",):
        rounds, persons = by_round(measured, value), by_round(measured, "persons")
        spent, needed = by_round(measured, "next costs"), as_good_as_random(measured, value)
        images = [f"{seeds[0]:.0f} images" for seeds in max(by_round(measured, "images").values(), key=len)]
        counted = "persons", "clicks to annotate what was added", "images as good as all at random"
        table = Table("criterion", "seeds", *images, *counted, title=f"clicks per person, {value}")
        for by, curve in rounds.items():
            cells = [seeds_beside(mean(seeds), seeds, 3) for seeds in curve]
            cells += [""] * (len(images) - len(cells))
            cost = sum(map(mean, spent[by][:-1]))
            enough = seeds_beside(needed[by][0], needed[by][1:], 0)
            table.add_row(by, str(len(curve[-1])), *cells, f"{mean(persons[by][-1]):.0f}", f"{cost:.0f}", enough)
        Console(width=180).print(table)


def seeds_beside(value: float, seeds: Sequence[float], digits: int) -> str:
    """Format a value, and in parentheses that of each seed."""
    shown = [f"{value:.{digits}f}", *(f"({seed:.{max(0, digits - 1)}f})" for seed in seeds)]
    return " ".join(shown).replace("inf", "never")


def plot(measured: list[Record], path: Path) -> None:
    """Draw clicks per person over images, a thin line per seed."""
    from matplotlib.figure import Figure

    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    images = by_round(measured, "images")
    for by, rounds in by_round(measured, "by hand").items():
        counts = [seeds[0] for seeds in images[by]]
        (line,) = axes.plot(counts, [mean(seeds) for seeds in rounds], "o-", label=by)
        for seeds in zip(*rounds, strict=False):
            axes.plot(counts, seeds, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axes.set(xlabel="annotated images", ylabel="clicks per person, by hand")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
