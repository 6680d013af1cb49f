"""What ``clickpose evaluate`` does: read, measure, and hand the numbers to ``evaluation_outputs``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clickpose.annotations import AnnotationSet, only_keypoints
from clickpose.commands import evaluation_outputs as outputs
from clickpose.commands.evaluation_options import EvaluateOptions
from clickpose.commands.evaluation_outputs import PUBLISHED_STRATEGIES, EvaluationResult
from clickpose.commands.locations import written
from clickpose.commands.output import write_json
from clickpose.errors import InvalidAnnotation, InvalidConfig
from clickpose.evaluation import RecordedResults, Simulation, convert_poses, evaluate_all
from clickpose.evaluation.overlays import OverlayMeter, choose_images
from clickpose.evaluation.predictors import NamedImage, StartedFrom
from clickpose.evaluation.stopwatch import Stopwatch
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.cpu import keep_large_buffers
from integrations.coco import person_categories, read_coco
from integrations.coco_results import read_results
from integrations.label_studio.times import read_times
from pipeline.dataset import PictureFolder, fit_records, in_skeleton
from pipeline.progress import progress

NUM_OVERLAYS = 6


def run_evaluation(options: EvaluateOptions) -> None:
    """Measure, print tables, and write figures and all numbers where the options say so."""
    keep_large_buffers()
    pictures, predictor = PictureFolder(options.images), Predictor.load(options.model)
    measured = measure(options, predictor, pictures, num_overlays=NUM_OVERLAYS if options.plots else 0)
    of = f", keypoints {options.keypoints}" if options.keypoints else ""
    outputs.print_tables(
        f"{predictor.version} on {options.data.name}{of}",
        measured,
        f"Rounds {options.loop}, hold {options.hold}, noise {options.noise:g}",
    )
    if options.plots:
        with written(options.plots) as folder:
            outputs.write_figures(folder, predictor.version, measured)
            outputs.write_overlays(folder, measured.overlays, pictures, predictor.skeleton)
    which = {"model": predictor.version, "data": options.data.name, "keypoints": options.keypoints}
    settings = {**which, "loop": options.loop, "hold": options.hold, "noise": options.noise}
    write_json(options.json, outputs.document(settings, measured))


def simulations_of(options: EvaluateOptions, skeleton: Skeleton) -> dict[str, Simulation]:
    """Return one simulation for each strategy, or the published one."""
    scored = {selection: tuple(skeleton.select(selection)) for selection in options.score_keypoints or ()}
    clicked = tuple(skeleton.select(options.click_keypoints)) if options.click_keypoints else None
    default = Simulation(max_clicks=options.max_clicks, scored=scored).styled(
        loop=options.loop, hold=options.hold, noise=options.noise, add=options.add, keypoints=clicked
    )
    return {name: default.styled(strategy=name) for name in options.strategy or ()} or {PUBLISHED_STRATEGIES: default}


def measure(
    options: EvaluateOptions, predictor: Predictor, pictures: PictureFolder, *, num_overlays: int
) -> EvaluationResult:
    """Evaluate a model, and the results of others, with the clicks of every strategy."""
    skeleton = predictor.skeleton
    simulations = simulations_of(options, skeleton)
    truth = read_coco(options.data, category=options.category, skip_bad=options.skip_bad)
    annotations = _convert(truth, skeleton, options)
    others = _read_others(options.results or (), truth, person_categories(options.data, options.category), skeleton)
    times = read_times(options.label_studio_export, skeleton) if options.label_studio_export else []

    fitted = fit_records(annotations, pictures, skip_bad=options.skip_bad)
    usable = {image.id for image in fitted.images}
    annotations = replace(annotations, images=tuple(image for image in annotations.images if image.id in usable))
    rounds = next(iter(simulations.values())).rounds
    overlays = OverlayMeter(predictor, choose_images(fitted, num_overlays), options.max_clicks, rounds)
    watch = Stopwatch()
    with progress(f"evaluating {predictor.version}", len(annotations)) as advance:
        ours = evaluate_all(
            watch.on(predictor),
            fitted,
            pictures,
            simulations,
            meters=[overlays],
            progress=lambda done, total: advance(1),
        )
    seconds = watch.read()
    theirs = {
        name: evaluate_all(other, annotations, lambda image: image, simulations) for name, other in others.items()
    }
    starts = _read_others(options.start_from or (), truth, person_categories(options.data, options.category), skeleton)
    for name, other in starts.items():
        refined = StartedFrom(predictor, other.poses)
        theirs[f"{name}, refined"] = evaluate_all(
            refined, fitted, lambda image: NamedImage(image.id, pictures(image)), simulations
        )
    return EvaluationResult(ours, theirs, times, overlays.overlays, seconds)


def _convert(truth: AnnotationSet, skeleton: Skeleton, options: EvaluateOptions) -> AnnotationSet:
    annotations = in_skeleton(truth, skeleton, options.data)
    if options.keypoints is not None:
        annotations = only_keypoints(annotations, skeleton.select(options.keypoints))
    if truth.num_persons and not annotations.num_persons:
        which = f"keypoint {options.keypoints}" if options.keypoints else "keypoint"
        raise InvalidAnnotation(f"{options.data}: no person has a {which} of the model's skeleton {skeleton.name!r}")
    return annotations


def _read_others(
    files: Sequence[Path], truth: AnnotationSet, categories: Sequence[int], skeleton: Skeleton
) -> dict[str, RecordedResults]:
    """Read the results of other models, in the keypoints of ours, by file name."""
    others: dict[str, RecordedResults] = {}
    for path in files:
        if path.stem in others:
            raise InvalidConfig(
                f"two results files are called {path.stem!r}: rename one, so that tables can distinguish them"
            )
        found = read_results(path, truth, categories)
        others[path.stem] = RecordedResults(skeleton, convert_poses(found, truth.skeleton, skeleton))
    return others
