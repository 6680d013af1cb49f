"""What a person costs in clicks: by hand, with the published loop, with ours, and from another model's first guesses.

    python -m benchmarks.click_economy --set NAME ANNOTATIONS.json IMAGES [--start-from NAME RESULTS.json]

Prints the tables of docs/click-economy.md and writes the numbers to benchmarks/results/click_economy.json. All arms
correct the same persons, worst keypoint first, until a person's OKS is .85; exact clicks, so nothing is random.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clickpose.annotations import AnnotationSet, convert_set, only_keypoints
from clickpose.checkpoints.model_folder import load_model
from clickpose.evaluation import RecordedResults, convert_poses, keypoint_ap
from clickpose.evaluation.click_cost import ClickCost, clicks_per_person
from clickpose.evaluation.click_style import ClickStyle
from clickpose.evaluation.predictors import NamedImage, PosePredictor, StartedFrom
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from integrations.coco_results import read_results
from pipeline.dataset import PictureFolder

GOAL = 0.85
RESULT = Path(__file__).parent / "results" / "click_economy.json"
LIMBS = "6-17"  # COCO's keypoints below the head
COLUMNS = ("by hand", "with the loop", "ratio", "harm", "help", "missed", "spurious per image", "ms")


@dataclass(frozen=True)
class DataSet:
    """Annotated images to measure on."""

    name: str
    annotations: AnnotationSet
    images: PictureFolder

    @classmethod
    def read(cls, name: str, file: str, images: str) -> DataSet:
        """Read a COCO file; a name that ends in ``limbs`` leaves out the keypoints of the head."""
        annotations = read_coco(file)
        if name.endswith("limbs"):
            annotations = only_keypoints(annotations, annotations.skeleton.select(LIMBS))
        return cls(name, annotations, PictureFolder(images))


def arms(model: Path) -> Iterator[tuple[str, PosePredictor, ClickStyle]]:
    """Yield the ways of correcting: the published loop, ours with a box for a missed person, ours with a click."""
    loaded = load_model(model)
    network = loaded.network
    if isinstance(network, PersonFrameNetwork):  # nothing held, everything moves, no round before the first click
        published = PersonFrameNetwork(replace(network.frame_config, silent_rounds=0, keep_above=1.0))
        published.load_state_dict(network.state_dict())
        yield "published loop", Predictor(published, loaded.skeleton), ClickStyle(hold="none")
    ours = Predictor(network, loaded.skeleton)
    yield "ours", ours, ClickStyle()
    yield "ours, a click adds a person", ours, ClickStyle(add="click")


def measure_arms(model: Path, data: DataSet) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the numbers of every arm on one data set."""
    for name, predictor, style in arms(model):
        annotations = convert_set(data.annotations, predictor.skeleton)
        shown = {image.id: predictor.detect(predictor.encode(data.images(image))) for image in annotations.images}
        cost = clicks_per_person(predictor, annotations, data.images, oks_threshold=GOAL, style=style)
        yield name, {**numbers(cost, len(annotations)), **ap_of(annotations, shown)}


def measure_start(model: Path, data: DataSet, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the numbers of another model's first guesses, corrected by hand and refined by ours."""
    predictor = Predictor.load(model)
    annotations = convert_set(data.annotations, predictor.skeleton)
    found = read_results(Path(file), data.annotations, [1])
    poses = convert_poses(found, data.annotations.skeleton, predictor.skeleton)
    by_hand = clicks_per_person(
        RecordedResults(predictor.skeleton, poses), annotations, lambda image: image, oks_threshold=GOAL
    )
    refined = clicks_per_person(
        StartedFrom(predictor, poses),
        annotations,
        lambda image: NamedImage(image.id, data.images(image)),
        oks_threshold=GOAL,
    )
    yield f"{Path(file).stem}, by hand", numbers(by_hand, len(annotations))
    yield f"{Path(file).stem}, our refine", numbers(refined, len(annotations))


def numbers(cost: ClickCost, num_images: int) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "by hand": cost.manual_mean_clicks,
        "with the loop": cost.mean_clicks,
        "ratio": cost.mean_clicks / cost.manual_mean_clicks,
        "harm": cost.harm,
        "help": cost.help,
        "missed": f"{cost.num_added} of {cost.num_persons}",
        "spurious per image": cost.num_spurious / num_images,
        "ms": cost.answer_ms,
        "held keypoints moved, px": cost.max_held_drift_px,
    }


def ap_of(annotations: AnnotationSet, shown: dict[int, Any]) -> dict[str, float]:
    """Return the AP of the persons who are shown."""
    ap = keypoint_ap(annotations, shown)
    return {"AP": ap["AP"], "AP50": ap["AP50"]}


def print_table(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print one data set's rows as a table."""
    columns = [c for c in (*COLUMNS, "AP", "AP50") if any(c in row for row in rows.values())]
    print(f"\n| {title} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, row in rows.items():
        cells = [f"{row[c]:.3f}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/demo"))
    parser.add_argument("--set", dest="sets", nargs=3, action="append", metavar=("NAME", "JSON", "IMAGES"), default=[])
    parser.add_argument("--start-from", nargs=2, action="append", metavar=("NAME", "RESULTS"), default=[])
    options = parser.parse_args()
    sets = {name: DataSet.read(name, file, images) for name, file, images in options.sets}
    result: dict[str, dict[str, Any]] = {}
    for name, data in sets.items():
        rows = dict(measure_arms(options.model, data))
        for wanted, file in options.start_from:
            rows |= dict(measure_start(options.model, data, file)) if wanted == name else {}
        result[name] = rows
        print_table(name, rows)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
