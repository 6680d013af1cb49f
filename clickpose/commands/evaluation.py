"""What ``clickpose evaluate`` does: read, measure, and hand the numbers to ``evaluation_outputs``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clickpose.annotations import AnnotationSet, convert_set, only_keypoints
from clickpose.commands import evaluation_outputs as outputs
from clickpose.commands.evaluation_outputs import PUBLISHED_STRATEGIES, Measured
from clickpose.commands.output import write_json
from clickpose.errors import InvalidAnnotation, InvalidConfig
from clickpose.evaluation import RecordedResults, Simulation, convert_poses, evaluate_all
from clickpose.evaluation.overlays import OverlayMeter, choose_images
from clickpose.evaluation.predictors import NamedImage, StartedFrom
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from integrations.coco import person_categories, read_coco
from integrations.coco_results import read_results
from integrations.label_studio.times import read_times
from pipeline.dataset import PictureFolder, fit_records
from pipeline.progress import progress

NUM_OVERLAYS = 6


@dataclass(frozen=True)
class EvaluationRequest:
    """What is evaluated, and how; see the options of ``clickpose evaluate``."""

    model: Path
    data: Path
    images: Path
    keypoints: str | None
    max_clicks: int
    strategies: tuple[str, ...]
    loop: str
    hold: str
    noise: float
    results: tuple[Path, ...]
    start_from: tuple[Path, ...]
    add: str
    label_studio_export: Path | None
    skip_bad: bool
    category: str | None

    def simulations(self) -> dict[str, Simulation]:
        """Return one simulation for each strategy, or the published one."""
        default = Simulation(max_clicks=self.max_clicks).styled(
            loop=self.loop, hold=self.hold, noise=self.noise, add=self.add
        )
        return {name: default.styled(strategy=name) for name in self.strategies} or {PUBLISHED_STRATEGIES: default}


def run_evaluation(request: EvaluationRequest, *, plots: Path | None, json: Path | None) -> None:
    """Measure, print tables, and write figures to the folder ``plots`` and all numbers to ``json``, if given."""
    pictures, predictor = PictureFolder(str(request.images)), Predictor.load(request.model)
    measured = measure(request, predictor, pictures, num_overlays=NUM_OVERLAYS if plots else 0)
    of = f", keypoints {request.keypoints}" if request.keypoints else ""
    outputs.print_tables(
        f"{predictor.version} on {request.data.name}{of}",
        measured,
        f"Rounds {request.loop}, hold {request.hold}, noise {request.noise:g}",
    )
    if plots:
        outputs.write_figures(plots, predictor.version, measured)
        outputs.write_overlays(plots, measured.overlays, pictures, predictor.skeleton)
    which = {"model": predictor.version, "data": request.data.name, "keypoints": request.keypoints}
    settings = {**which, "loop": request.loop, "hold": request.hold, "noise": request.noise}
    write_json(json, outputs.document(settings, measured))


def measure(
    request: EvaluationRequest, predictor: Predictor, pictures: PictureFolder, *, num_overlays: int
) -> Measured:
    """Evaluate a model, and the results of others, with the clicks of every strategy."""
    simulations, skeleton = request.simulations(), predictor.skeleton
    truth = read_coco(request.data, category=request.category, skip_bad=request.skip_bad)
    annotations = _convert(truth, skeleton, request)
    others = _read_others(request.results, truth, person_categories(request.data, request.category), skeleton)
    times = read_times(request.label_studio_export, skeleton) if request.label_studio_export else []

    fitted = fit_records(annotations, pictures, skip_bad=request.skip_bad)
    usable = {image.id for image in fitted.images}
    annotations = replace(annotations, images=tuple(image for image in annotations.images if image.id in usable))
    rounds = next(iter(simulations.values())).rounds
    overlays = OverlayMeter(predictor, choose_images(fitted, num_overlays), request.max_clicks, rounds)
    with progress(f"evaluating {predictor.version}", len(annotations)) as advance:
        ours = evaluate_all(
            predictor, fitted, pictures, simulations, meters=[overlays], progress=lambda done, total: advance(1)
        )
    theirs = {
        name: evaluate_all(other, annotations, lambda image: image, simulations) for name, other in others.items()
    }
    starts = _read_others(request.start_from, truth, person_categories(request.data, request.category), skeleton)
    for name, other in starts.items():
        refined = StartedFrom(predictor, other.poses)
        theirs[f"{name}, refined"] = evaluate_all(
            refined, fitted, lambda image: NamedImage(image.id, pictures(image)), simulations
        )
    return Measured(ours, theirs, times, overlays.overlays)


def _convert(truth: AnnotationSet, skeleton: Skeleton, request: EvaluationRequest) -> AnnotationSet:
    annotations = convert_set(truth, skeleton)
    if request.keypoints is not None:
        annotations = only_keypoints(annotations, skeleton.select(request.keypoints))
    if truth.num_persons and not annotations.num_persons:
        which = f"keypoint {request.keypoints}" if request.keypoints else "keypoint"
        raise InvalidAnnotation(f"{request.data}: no person has a {which} of the model's skeleton {skeleton.name!r}")
    return annotations


def _read_others(
    files: Sequence[Path], truth: AnnotationSet, categories: Sequence[int], skeleton: Skeleton
) -> dict[str, RecordedResults]:
    """Read the results of other models, in the keypoints of ours, by file name."""
    others: dict[str, RecordedResults] = {}
    for path in files:
        if path.stem in others:
            raise InvalidConfig(f"two results files are called {path.stem!r}: rename one, so that tables can tell them")
        found = read_results(path, truth, categories)
        others[path.stem] = RecordedResults(skeleton, convert_poses(found, truth.skeleton, skeleton))
    return others
