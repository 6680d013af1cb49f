"""Ten rounds of a small team on photos of athletes, from a weak model, with everything going wrong that can.

python -m examples.ten_rounds ANNOTATIONS IMAGES OUT

ANNOTATIONS is a COCO keypoint file of at least 250 single persons, of which keypoints of the demo model are used.
Simulated annotators know it, and click with some error. Every round annotates new images, then retrains in a process
of its own. Rounds 4 and 8 go through a real Label Studio whose webhooks reach nobody. In round 2 the process is killed
while it trains, in round 5 an annotator swaps left and right in 20 images, in round 7 the disk is full. Run it again
to resume.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from clickpose.annotations import convert_set
from clickpose.checkpoints.model_folder import load_model
from clickpose.training.config import person_frame_tuning
from examples.rounds import begin, retrain_in_round
from examples.ten_rounds.outcome import draw, tell
from examples.ten_rounds.start import weaken
from examples.ten_rounds.studio import through_label_studio
from examples.ten_rounds.team import PoisonedTeam
from examples.ten_rounds.troubles import DISK_FULL, KILLED, LOST_WEBHOOKS, run_killed, run_on_full_disk
from integrations.coco import read_coco
from pipeline.registry import Registry
from pipeline.round_report import all_reports

NUM_ROUNDS = 10
DEMO_MODEL = Path(__file__).parents[2] / "models" / "demo"
TRAINING = person_frame_tuning(epochs=1, scenes_per_epoch=256, learning_rate=2e-4, warmup_steps=2)


def main(
    annotations: Path,
    images: Path,
    out: Path,
    rounds: Annotated[int, typer.Option(help="Rounds to play in all; those already played are kept.")] = NUM_ROUNDS,
    only: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Play the rounds that are left, and say what came of it."""
    truth = convert_set(read_coco(annotations), load_model(DEMO_MODEL).skeleton)
    team = PoisonedTeam(truth, images.absolute(), out.absolute())
    if only is not None:
        retrain_in_round(team, only, TRAINING)
        return
    begin(team, lambda: weaken(DEMO_MODEL, team.out / "weak"))
    for number in range(len(all_reports(team.store)) + 1, rounds + 1):
        annotate(team, number)
        play_round(team, number)
    print(tell(team))
    draw(team).savefig(team.out / "ten_rounds.png", dpi=110)


def annotate(team: PoisonedTeam, number: int) -> None:
    """Write the annotations of a round, which may go through Label Studio."""
    batch, registry = team.batch(number), Registry(team.store)
    if number in LOST_WEBHOOKS:
        model = registry.fetch(str(registry.current()))
        batch = through_label_studio(team.out, f"Round {number}", batch, team.truth.skeleton, model)
    team.submit(number, batch)


def play_round(team: PoisonedTeam, number: int) -> None:
    """Retrain in a process of its own, after the trouble of the round."""
    command = [sys.executable, *sys.orig_argv[1:], "--only", str(number)]
    if number == KILLED:
        run_killed(command, team.out / "store")
        print(f"round {number} was killed while it trained: it is run again", flush=True)
    if number == DISK_FULL:
        status = run_on_full_disk(command)
        print(f"round {number} found the disk full and exited with {status}: it is run again", flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    typer.run(main)
