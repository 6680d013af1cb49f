"""Play ``clickpose annotate`` with a gate that lets every model pass, and print what comes of one annotated photo.

python -m tests.annotate_round PHOTOS DATA PORT
"""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from clickpose.commands.annotate import background as module
from clickpose.commands.annotate.background import Background
from clickpose.commands.annotate.command import DEMO_MODEL
from clickpose.commands.annotate.desk import Desk, open_desk
from integrations.label_studio.projects import USER
from pipeline.compare import Comparison
from pipeline.gate import Verdict
from pipeline.retrain import retrain
from pipeline.snapshot import is_held_back

ROUND_LIMIT_S = 300.0


def main(photos: Path, data: Path, port: int) -> None:
    module.retrain = partial(retrain, compare=let_pass)  # type: ignore[assignment]
    done, said = threading.Event(), []

    def tell(line: str) -> None:
        said.append(line)
        if line.endswith("it may pass"):
            done.set()

    with open_desk(photos, data, model=DEMO_MODEL, port=port) as desk:
        background = Background(desk, tell, min_new_pictures=1)
        training = background.config.training
        training = replace(training, epochs=1, scenes_per_epoch=training.batch_size)
        background.config = replace(background.config, training=training)
        first = background.current()
        background.label()
        annotated = annotate_one(desk)
        threading.Thread(target=background.run, daemon=True).start()
        assert done.wait(ROUND_LIMIT_S), said
        seen = {"first": first, "served": served_version(desk), "current": background.current(), "said": said}
        tasks = {task["id"]: versions_of(task) for task in desk.label_studio.tasks(desk.project)}
    print(json.dumps({**seen, "annotated": tasks.pop(annotated), "waiting": list(tasks.values())}))


def let_pass(*_: Any) -> Comparison:
    return Comparison({}, {}, Verdict(True, "it may pass"))


def annotate_one(desk: Desk) -> int:
    """Accept the prediction of a photo that is not held back, and shows somebody; return the task."""
    for task in desk.label_studio.tasks(desk.project):
        result = task["predictions"][0]["result"]
        if result and not is_held_back(task["data"]["file_name"]):
            desk.label_studio.submit_annotation(task["id"], result)
            return int(task["id"])
    raise AssertionError("the model finds no person")


def versions_of(task: dict[str, Any]) -> list[str]:
    return sorted({prediction["model_version"] for prediction in task["predictions"]})


def served_version(desk: Desk) -> str:
    """Ask the service for its model, as Label Studio does."""
    body = {"project": f"{desk.project}.0", "schema": "", "hostname": "", "access_token": ""}
    answer = httpx.post(f"{desk.service_url}/setup", json=body, auth=(USER, desk.secret), trust_env=False)
    return str(answer.json()["model_version"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
