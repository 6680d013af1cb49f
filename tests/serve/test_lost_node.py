"""A machine of the service is lost while annotators work, and they do not notice."""

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
def test_the_loss_of_a_machine_fails_no_request_and_loses_no_click(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.serve.several_raylets", str(tmp_path)]
    with tempfile.TemporaryDirectory(prefix="ray-") as own:  # short, for sockets; no other program joins this Ray
        settings = os.environ | {"RAY_TMPDIR": own}
        done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    print(seen)
    assert seen["failed"] == {} and seen["lost"] == [], seen
