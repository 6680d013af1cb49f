"""What ``clickpose evaluate`` does: read, measure, and hand the numbers to ``evaluation_outputs``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from clickpose.annotations import AnnotationSet, only_keypoints
from clickpose.commands import evaluation_outputs as outputs
from clickpose.commands.evaluation_options import EvaluateOptions
from clickpose.commands.evaluation_outputs import PUBLISHED_STRATEGIES, EvaluationResult
from clickpose.commands.locations import written
from clickpose.commands.output import write_json
from clickpose.errors import InvalidAnnotation, InvalidConfig
from clickpose.evaluation import STRATEGIES, RecordedResults, Simulation, convert_poses, evaluate_all
from clickpose.evaluation.click_style import LOOPS
from clickpose.evaluation.overlays import OverlayMeter, choose_images
from clickpose.evaluation.predictors import StartedFrom
from clickpose.evaluation.report import StartMeters
from clickpose.evaluation.sensitivity import SensitivityMeter
from clickpose.evaluation.stopwatch import Stopwatch
from clickpose.evaluation.visits import Meter, visit_images
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.cpu import keep_large_buffers
from integrations.coco import person_categories, read_coco
from integrations.coco_results import read_results
from integrations.label_studio.times import read_times
from pipeline.dataset import ImageFolder, fit_records, in_skeleton
from pipeline.evaluate import EvaluationJob, measure_on_workers
from pipeline.image_files import full_name
from pipeline.progress import progress
from pipeline.store import local_folder

NUM_OVERLAYS = 6


def run_evaluation(options: EvaluateOptions) -> None:
    """Measure, print tables, and write figures and all numbers where the options say so."""
    keep_large_buffers()
    images, predictor = ImageFolder(options.images), Predictor.load(local_folder(options.model), options.device)
    measured = measure(options, predictor, images, num_overlays=NUM_OVERLAYS if options.plots else 0)
    loop = ", ".join(_all_of(LOOPS, options.loop) or ["progressive"])
    of = f", keypoints {options.keypoints}" if options.keypoints else ""
    outputs.print_tables(
        f"{predictor.version} on {options.data.name}{of}",
        measured,
        f"Rounds {loop}, hold {options.hold}, noise {options.noise:g}",
    )
    if options.plots:
        with written(options.plots) as folder:
            outputs.write_figures(folder, predictor.version, measured)
            outputs.write_overlays(folder, measured.overlays, images, predictor.skeleton)
    which = {"model": predictor.version, "data": options.data.name, "keypoints": options.keypoints}
    settings = {**which, "loop": loop, "hold": options.hold, "noise": options.noise}
    write_json(options.json, outputs.document(settings, measured))


def simulations_of(options: EvaluateOptions, skeleton: Skeleton) -> dict[str, Simulation]:
    """Return one simulation for each strategy and kind of rounds, or the published one, by name."""
    scored = {selection: tuple(skeleton.select(selection)) for selection in options.score_keypoints or ()}
    clicked = tuple(skeleton.select(options.click_keypoints)) if options.click_keypoints else None
    default = Simulation(max_clicks=options.max_clicks, scored=scored).styled(
        hold=options.hold, noise=options.noise, add=options.add, keypoints=clicked
    )
    strategies = {name: default.styled(strategy=name) for name in _all_of(STRATEGIES, options.strategy)}
    loops = _all_of(LOOPS, options.loop) or ["progressive"]
    return {
        f"{name}, {loop}" if len(loops) > 1 else name: simulation.styled(loop=loop)
        for loop in loops
        for name, simulation in (strategies or {PUBLISHED_STRATEGIES: default}).items()
    }


def _all_of(known: Iterable[str], named: Sequence[str] | None) -> list[str]:
    """Return the names given, each once; ``all`` stands for every one known."""
    return list(dict.fromkeys(one for name in named or () for one in (known if name == "all" else [name])))


def measure(
    options: EvaluateOptions, predictor: Predictor, images: ImageFolder, *, num_overlays: int
) -> EvaluationResult:
    """Evaluate a model, and the results of others, with the clicks of every strategy."""
    skeleton = predictor.skeleton
    simulations = simulations_of(options, skeleton)
    truth = read_coco(options.data, category=options.category, skip_bad=options.skip_bad)
    annotations = _convert(truth, skeleton, options)
    categories = person_categories(options.data, options.category)
    others, starts = (_read_others(f or (), truth, categories, skeleton) for f in (options.results, options.start_from))
    times = read_times(options.label_studio_export, skeleton) if options.label_studio_export else []

    annotations = replace(annotations, images=annotations.images[: options.limit])
    fitted = fit_records(annotations, images, skip_bad=options.skip_bad)
    usable = {image.id for image in fitted.images}
    annotations = replace(annotations, images=tuple(image for image in annotations.images if image.id in usable))
    shown = choose_images(fitted, num_overlays)
    refined = {name: StartMeters(StartedFrom(predictor, other.poses), simulations) for name, other in starts.items()}
    if options.workers:
        measured = _measure_on_workers(options, predictor.version, fitted, simulations, shown)
        if refined:
            visit_images(predictor, fitted, images, list(refined.values()))
    else:
        measured = _measure_ours(options, predictor, fitted, simulations, shown, refined.values())
    theirs = {
        name: evaluate_all(other, annotations, lambda image: image, simulations) for name, other in others.items()
    }
    answered = {f"from {name}": meters.result(fitted) for name, meters in refined.items()}
    return replace(measured, theirs=theirs, refined=answered, times=times)


def _measure_ours(
    options: EvaluateOptions,
    predictor: Predictor,
    annotations: AnnotationSet,
    simulations: dict[str, Simulation],
    shown: Collection[int],
    others: Iterable[Meter],
) -> EvaluationResult:
    images, watch, rounds = ImageFolder(options.images), Stopwatch(), next(iter(simulations.values())).rounds
    ours = watch.on(predictor)
    overlays, disturbed = OverlayMeter(ours, shown, options.max_clicks, rounds), SensitivityMeter(predictor)
    meters: list[Meter] = [overlays, *others, *([disturbed] if options.disturb else [])]
    with progress(f"evaluating {predictor.version}", len(annotations)) as advance:
        metrics = evaluate_all(
            ours, annotations, images, simulations, meters=meters, progress=lambda done, total: advance(1)
        )
    return EvaluationResult(
        metrics,
        overlays=overlays.overlays,
        seconds=watch.read(),
        sensitivity=disturbed.result(annotations) if options.disturb else [],
    )


def _measure_on_workers(
    options: EvaluateOptions,
    version: str,
    annotations: AnnotationSet,
    simulations: dict[str, Simulation],
    shown: Collection[int],
) -> EvaluationResult:
    if options.disturb:
        raise InvalidConfig("--disturb measures in one process: leave out --workers")
    images = "\n".join(map(full_name, options.images.splitlines()))
    job = EvaluationJob(full_name(options.model), images, simulations, shown, options.device, options.gpus_per_worker)
    with progress(f"evaluating {version}", len(annotations)) as advance:
        measured = measure_on_workers(job, annotations, options.workers, advance)
    metrics = measured.numbers.result(annotations)
    return EvaluationResult(metrics, overlays=measured.overlays.overlays, seconds=measured.seconds)


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
