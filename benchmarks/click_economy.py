"""What a person costs in clicks: by hand, with the published loop, with ours, and from another model's first guesses.

    python -m benchmarks.click_economy --set NAME ANNOTATIONS.json IMAGES [--start-from NAME RESULTS.json] [--plot FILE]

Prints the tables of docs/click-economy.md and writes the numbers to benchmarks/results/click_economy.json, beside those
of other data sets; plots how reliable the scores of keypoints are on all of them. All arms correct the same persons,
worst keypoint first unless their names say otherwise, until a person's OKS is .85.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from clickpose.annotations import AnnotationSet, convert_set, only_keypoints
from clickpose.checkpoints.model_folder import load_model
from clickpose.evaluation import RecordedResults, convert_poses
from clickpose.evaluation.click_cost import ClickCost, CostMeter, clicks_per_person
from clickpose.evaluation.click_curve import ClickCurve, CurveMeter
from clickpose.evaluation.click_style import ClickStyle
from clickpose.evaluation.matching import labelled_persons, match_by_oks
from clickpose.evaluation.plots import reliability_plot
from clickpose.evaluation.predictors import ManualCorrection, NamedImage, PosePredictor, StartedFrom
from clickpose.evaluation.reliability import Bin, ReliabilityMeter, bins, expected_calibration_error
from clickpose.evaluation.report import ShownPrecision
from clickpose.evaluation.visits import Visit, visit_images
from clickpose.expected_clicks import expected_clicks
from clickpose.first_guess.looker import WIDTHS
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from integrations.coco_results import read_results
from pipeline.dataset import ImageFolder

GOALS = 0.85, 0.90  # OKS of a person; the first is that of most columns
MAX_CLICKS = 4
MIN_PLOTTED = 50  # persons of a data set; the shares of fewer say little
RESULT = Path(__file__).parent / "results" / "click_economy.json"
LIMBS = "6-17"  # COCO's keypoints below the head
COSTS = ("by hand", "with the loop", "ratio", "by hand, .90", "with the loop, .90", "harm", "help")
SHOWN = ("missed", "spurious per image", "AP", "AP50")
RANKS = ("rank correlation of expected and actual clicks, images", "persons shown")
FORECAST = (*RANKS, "expected per image", "taken per image")
CURVE = tuple(f"C{n}{of}" for n in range(MAX_CLICKS + 1) for of in (" by hand", ""))
PUBLISHED = {"published loop": ClickStyle(hold="none")}
NOISY = "ours, a click adds a person, clicks as inexact as COCO's, seed"
OURS = {
    "ours": ClickStyle(),
    "ours, a click adds a person": ClickStyle(add="click"),
    "ours, a click adds a person, least sure first": ClickStyle(add="click", strategy="low-score"),
    f"{NOISY} 0": ClickStyle(add="click", noise=1.0, seed=0),
    f"{NOISY} 1": ClickStyle(add="click", noise=1.0, seed=1),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """Annotated images to measure on."""

    name: str
    annotations: AnnotationSet
    images: ImageFolder

    @classmethod
    def read(cls, name: str, file: str, images: str) -> DataSet:
        """Read a COCO file; a name that ends in ``limbs`` leaves out the keypoints of the head."""
        annotations = read_coco(file)
        if name.endswith("limbs"):
            annotations = only_keypoints(annotations, annotations.skeleton.select(LIMBS))
        return cls(name, annotations, ImageFolder(images))


def measure_arms(model: Path, data: DataSet) -> Iterator[tuple[str, Row]]:
    """Yield the numbers of every way of correcting one data set."""
    loaded = load_model(model)
    network = loaded.network
    if isinstance(network, PersonFrameNetwork):  # nothing held, everything moves, no round before the first click
        published = network.with_settings(silent_rounds=0, keep_above=1.0)
        yield from measure(Predictor(published, loaded.skeleton), data, PUBLISHED)
    yield from measure(Predictor(network, loaded.skeleton), data, OURS)
    if isinstance(network, PersonFrameNetwork):
        for looker in WIDTHS:
            alone = Predictor(network.with_settings(looker=looker, own_looker=False, silent_rounds=0), loaded.skeleton)
            yield f"what MoveNet {looker.title()} sees, by hand", cost_by_hand(ManualCorrection(alone), data)


def cost_by_hand(predictor: PosePredictor, data: DataSet) -> Row:
    """Return the numbers of a predictor that ignores clicks."""
    annotations = convert_set(data.annotations, predictor.skeleton)
    costs = [clicks_per_person(predictor, annotations, data.images, oks_threshold=goal) for goal in GOALS]
    return numbers(costs, len(annotations))


class ForecastMeter:
    """Collects the clicks that are expected and those that are taken by hand, adding by a click.

    Attributes:
        images: both, for each image.
        persons: both, for each annotated person who is shown.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.images: list[tuple[float, int]] = []
        self.persons: list[tuple[float, int]] = []

    def visit(self, visit: Visit) -> None:
        """Take one image into account."""
        cost = CostMeter(ManualCorrection(self.predictor), GOALS[0], style=ClickStyle(add="click"))
        cost.visit(visit)
        clicks = cost.manual.clicks  # those of persons shown come first
        self.images.append((self.predictor.expected_clicks(visit.encoded, visit.shown), sum(clicks)))
        matches = sorted(match_by_oks(visit.shown, labelled_persons(visit.image), self.predictor.skeleton))
        expected = [expected_clicks([visit.shown[index]]) for index in matches]
        self.persons += zip(expected, clicks, strict=False)

    def row(self) -> Row:
        """Return Spearman's rank correlations of the two, and their means per image."""
        correlations = (float(spearmanr(np.array(pairs)).statistic) for pairs in (self.images, self.persons))
        return dict(zip(FORECAST, (*correlations, *np.mean(self.images, axis=0).tolist()), strict=True))


def confidence_of(reliability: ReliabilityMeter) -> Row:
    """Return the expected calibration error, and the bins that it comes from."""
    pair = reliability.chances, reliability.right
    return {"calibration error": expected_calibration_error(*pair), "bins": [asdict(b) for b in bins(*pair)]}


def measure(predictor: Predictor, data: DataSet, styles: Mapping[str, ClickStyle]) -> Iterator[tuple[str, Row]]:
    """Yield the numbers of every style of clicking, in one pass; the curve is that of the first."""
    annotations = convert_set(data.annotations, predictor.skeleton)
    costs = {(name, goal): CostMeter(predictor, goal, style=style) for name, style in styles.items() for goal in GOALS}
    curve, shown = CurveMeter(predictor, MAX_CLICKS, next(iter(styles.values()))), ShownPrecision()
    reliability, forecast = ReliabilityMeter(predictor.skeleton), ForecastMeter(predictor)
    visit_images(predictor, annotations, data.images, [*costs.values(), curve, shown, reliability, forecast])
    ap = shown.result(annotations)
    for number, name in enumerate(styles):
        row = numbers([costs[name, goal].result() for goal in GOALS], len(annotations))
        row |= {key: ap[key] for key in ("AP", "AP50")}
        yield name, row if number else row | curve_of(curve.result()) | forecast.row() | confidence_of(reliability)


def measure_start(model: Path, data: DataSet, file: str) -> Iterator[tuple[str, Row]]:
    """Yield the numbers of another model's first guesses, corrected by hand and refined by ours."""
    predictor = Predictor.load(model)
    annotations = convert_set(data.annotations, predictor.skeleton)
    found = read_results(Path(file), data.annotations, [1])
    poses = convert_poses(found, data.annotations.skeleton, predictor.skeleton)
    guessed, refined = RecordedResults(predictor.skeleton, poses), StartedFrom(predictor, poses)
    by_hand = [clicks_per_person(guessed, annotations, lambda image: image, oks_threshold=goal) for goal in GOALS]
    ours = [
        clicks_per_person(
            refined, annotations, lambda image: NamedImage(image.id, data.images(image)), oks_threshold=goal
        )
        for goal in GOALS
    ]
    yield f"{Path(file).stem}, by hand", numbers(by_hand, len(annotations))
    yield f"{Path(file).stem}, our refine", numbers(ours, len(annotations))


def numbers(costs: Sequence[ClickCost], num_images: int) -> Row:
    """Return a row of the table: costs at the goal and at the higher one."""
    cost, higher = costs
    return {
        "by hand": cost.manual_mean_clicks,
        "with the loop": cost.mean_clicks,
        "ratio": cost.mean_clicks / cost.manual_mean_clicks,
        "by hand, .90": higher.manual_mean_clicks,
        "with the loop, .90": higher.mean_clicks,
        "harm": cost.harm,
        "help": cost.help,
        "missed": f"{cost.num_added} of {cost.num_persons}",
        "spurious per image": cost.num_spurious / num_images,
        "ms": cost.answer_ms,
        "held keypoints moved, px": cost.max_held_drift_px,
    }


def num_persons(row: Row) -> int:
    """Return how many persons were corrected."""
    return int(row["missed"].split()[-1])


def curve_of(curve: ClickCurve) -> Row:
    """Return AP after n clicks on each person, by hand and with the loop."""
    pairs = enumerate(zip(curve.by_hand, curve.answered.first_scores, strict=True))
    return {f"C{n}{of}": ap["AP"] for n, pair in pairs for of, ap in zip((" by hand", ""), pair, strict=True)}


def print_tables(title: str, rows: dict[str, Row]) -> None:
    """Print one data set's rows: what a person costs, and AP after clicks."""
    scores = ("calibration error", *FORECAST)
    tables = {title: COSTS + SHOWN, f"{title}: AP after clicks": CURVE, f"{title}: confidence": scores}
    for caption, columns in tables.items():
        print(f"\n| {caption} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for name, row in rows.items():
            cells = [f"{row[c]:.3f}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns]
            if any(cells):
                print(f"| {name} | {' | '.join(cells)} |", flush=True)


def recorded() -> dict[str, dict[str, Row]]:
    """Return the numbers of all data sets measured so far."""
    numbers: dict[str, dict[str, Row]] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    return numbers


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/demo"))
    parser.add_argument("--set", dest="sets", nargs=3, action="append", metavar=("NAME", "JSON", "IMAGES"), default=[])
    parser.add_argument("--start-from", nargs=2, action="append", metavar=("NAME", "RESULTS"), default=[])
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    sets = {name: DataSet.read(name, file, images) for name, file, images in options.sets}
    for name, data in sets.items():
        rows = dict(measure_arms(options.model, data))
        for wanted, file in options.start_from:
            rows |= dict(measure_start(options.model, data, file)) if wanted == name else {}
        print_tables(name, rows)
        RESULT.write_text(json.dumps(recorded() | {name: rows}, indent=2) + "\n")
    if options.plot:
        large = {name: rows["ours"] for name, rows in recorded().items() if num_persons(rows["ours"]) >= MIN_PLOTTED}
        by_set = {name: [Bin(**one) for one in row["bins"]] for name, row in large.items()}
        reliability_plot(by_set).savefig(options.plot, dpi=110)


if __name__ == "__main__":
    main()
