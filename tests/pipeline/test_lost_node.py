"""A node of a cluster is lost in the middle of the work, and the work ends as it would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.cluster
def test_work_survives_the_loss_of_a_node(tiny_model: Path, drawn_people: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.pipeline.several_raylets",
        str(tiny_model),
        str(drawn_people),
        str(tmp_path),
    ]
    with tempfile.TemporaryDirectory(prefix="ray-") as own:  # short, for sockets; no other program joins this Ray
        settings = os.environ | {"RAY_TMPDIR": own, "RAY_health_check_period_ms": "300"}  # a dead node is soon noticed
        done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["labelled"] == sorted(path.name for path in drawn_people.glob("*.png"))
    assert seen["killed"] == 1
    undisturbed, killed = seen["curves"]
    assert [entry["epoch"] for entry in killed] == [0, 1, 2, 3]
    assert killed == undisturbed  # bit for bit
