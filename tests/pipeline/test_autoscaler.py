"""What a cluster could have decides what is asked for, and what is asked for is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from pipeline.autoscaler import resources_of

ROOT = Path(__file__).parents[2]


def test_a_cluster_file_says_what_could_be_started() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert resources_of(config) == {"CPU": 8 + 4 * 16, "GPU": 4}
    assert resources_of(config | {"max_workers": 1}) == {"CPU": 8 + 16, "GPU": 1}


@pytest.mark.cluster
def test_a_gpu_node_is_started_for_what_a_command_asks_for(
    tiny_model: Path, drawn_people: Path, tmp_path: Path
) -> None:
    words = [str(tiny_model), str(drawn_people), str(tmp_path)]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as own:  # short, for sockets
        done = subprocess.run(
            [sys.executable, "-m", "tests.pipeline.autoscaling", *words],
            cwd=ROOT,
            env=os.environ | {"RAY_TMPDIR": own, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["asked for"] and seen["gpus at first"] == 0
    assert seen["gpus at last"] >= 1
    assert seen["labelled"] == sorted(path.name for path in drawn_people.glob("*.png"))
