"""Evaluation on workers says what one process says."""

from dataclasses import replace
from pathlib import Path

import pytest

from clickpose.annotations import AnnotationSet
from clickpose.evaluation import Simulation
from integrations.coco import read_coco
from pipeline.evaluate import EvaluationJob, Measured, measure, measure_on_workers, split


@pytest.fixture
def annotations(drawn_people: Path) -> AnnotationSet:
    everything = read_coco(drawn_people / "annotations.json")
    return replace(everything, images=everything.images[:4])


@pytest.fixture
def job(tiny_model: Path, drawn_people: Path) -> EvaluationJob:
    simulations = {name: Simulation(max_clicks=1, goals=(0.85,)).styled(strategy=name) for name in ("worst", "random")}
    return EvaluationJob(str(tiny_model), str(drawn_people), simulations, shown=[1, 4])


def result(measured: Measured, annotations: AnnotationSet) -> dict[str, dict[str, object]]:
    """Every number but times."""
    numbers = measured.numbers.result(annotations)
    return {
        name: {key: value for key, value in metrics.items() if "_ms" not in key} for name, metrics in numbers.items()
    }


@pytest.mark.parametrize("num_shares", [1, 3, 4, 100])
def test_shares_hold_every_image_once_and_in_order(annotations: AnnotationSet, num_shares: int) -> None:
    shares = split(annotations, num_shares)
    assert len(shares) <= num_shares and all(len(share) for share in shares)
    assert [image.id for share in shares for image in share.images] == [image.id for image in annotations.images]


def test_no_image_is_a_share_without_one(annotations: AnnotationSet) -> None:
    assert [len(share) for share in split(AnnotationSet(annotations.skeleton), 4)] == [0]


def test_shares_together_say_what_one_pass_says(job: EvaluationJob, annotations: AnnotationSet) -> None:
    predictor = job.load_predictor()
    whole = measure(job, predictor, annotations)
    first, *others = (measure(job, predictor, share) for share in split(annotations, 2))
    for other in others:
        first.absorb(other)
    assert result(first, annotations) == result(whole, annotations)
    assert [one.image.id for one in first.overlays.overlays] == [1, 4]


@pytest.mark.cluster
def test_workers_say_what_one_process_says(ray_cluster, job: EvaluationJob, annotations: AnnotationSet) -> None:
    counts: list[int] = []
    measured = measure_on_workers(job, annotations, 2, counts.append)
    assert result(measured, annotations) == result(measure(job, job.load_predictor(), annotations), annotations)
    assert sum(counts) == len(annotations)
