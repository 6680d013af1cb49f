"""Rounds of ten frames of a mouse, from a model that has never seen one.

python -m examples.mouse_rounds MODEL ANNOTATIONS IMAGES OUT

MODEL is one of people in the published form, of which all is trained: the first model of the mouse is this one with
random keypoints. ANNOTATIONS is a COCO keypoint file. Its first 30 images are the gold images, on which models are
compared, and the next ones are annotated, ten in each round. On the others every model that was promoted is measured
at the end. Run it again to resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from clickpose.annotations import AnnotatedImage
from clickpose.checkpoints.growing import grow
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.evaluation import Simulation, evaluate
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.config import fine_tuning
from clickpose.training.cpu import tune_for_cpu
from clickpose.training.scenes import SceneConfig
from examples.rounds import NUM_GOLD, Team, begin, draw_clicks, retrain_in_round, tell_clicks
from integrations.coco import read_coco
from pipeline.compare import GOAL
from pipeline.dataset import ImageFolder
from pipeline.registry import Registry
from pipeline.round_report import all_reports

IMAGES_PER_ROUND = 10
TRAINING = fine_tuning(
    epochs=1,
    scenes_per_epoch=1600,
    learning_rate=5e-4,
    backbone_learning_rate=5e-5,
    # the camera does not move: one frame per scene, about as large as it is
    augment=SceneConfig(max_pictures=1, scale=(0.9, 1.15), rotation_deg=10.0, shift=0.05),
)


def main(
    model: Path,
    annotations: Path,
    images: Path,
    out: Path,
    rounds: Annotated[int, typer.Option(help="Rounds to play in all; those already played are kept.")] = 4,
) -> None:
    """Play the rounds that are left, and say what came of it."""
    tune_for_cpu(1)
    team = Team(read_coco(annotations), images.absolute(), out.absolute(), IMAGES_PER_ROUND)
    begin(team, lambda: with_other_keypoints(model, team.truth.skeleton, team.out / "first"))
    for number in range(len(all_reports(team.store)) + 1, rounds + 1):
        team.submit(number, team.batch(number))
        retrain_in_round(team, number, TRAINING)
    print(tell_clicks(team))
    print(tell_unused(team, team.truth.images[NUM_GOLD + rounds * IMAGES_PER_ROUND :]))
    draw_clicks(team)[0].savefig(team.out / "mouse_rounds.png", dpi=110)


def with_other_keypoints(model: Path, skeleton: Skeleton, out: Path) -> Path:
    """Write a model with other keypoints, and return its folder: those that it does not share start at random."""
    known = load_model(model)
    grown = grow(known.network, known.skeleton, skeleton)
    return save_model(out, grown, skeleton, metrics={}, card=f"# {model.name}, with the keypoints of {skeleton.name}\n")


def tell_unused(team: Team, unused: Sequence[AnnotatedImage]) -> str:
    """Return the clicks per person of every model that was promoted, on images that no round has used."""
    promoted = [report.challenger for report in all_reports(team.store) if report.promoted]
    goal, registry, truth = GOAL / 100, Registry(team.store), replace(team.truth, images=tuple(unused))
    numbers = []
    for version in filter(None, promoted if unused else ()):
        metrics = evaluate(
            Predictor.load(registry.fetch(version)), truth, ImageFolder(str(team.images)), Simulation(goals=(goal,))
        )
        numbers.append(f"{version} {metrics[f'clicks@{GOAL}']:.2f}")
    return f"on {len(unused)} images that no round has used: {', '.join(numbers) or '-'}"


if __name__ == "__main__":
    typer.run(main)
