"""What ``clickpose serve`` spends its start on: ``python -m benchmarks.serve_load.startup``."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.measure import write_result
from benchmarks.serve_load.pictures import write_pictures

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


class Stages(logging.Handler):
    """Notes when each stage ended: one line of ``clickpose.commands.serving`` per stage."""

    def __init__(self) -> None:
        super().__init__()
        self.last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.perf_counter()
        self.seconds[stage], self.last = round(now - self.last, 2), now

    def emit(self, record: logging.LogRecord) -> None:
        """End the stage that a line is about."""
        self.end(record.getMessage())


def main() -> None:
    """Start a service as ``clickpose serve`` does, stop it, and print how long each stage took."""
    parser = argparse.ArgumentParser(description="Measure the start of clickpose serve.")
    parser.add_argument("--model", type=Path, default=Path("models/demo"))
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--name", default="startup", help="of the result; empty to write none")
    arguments = parser.parse_args()
    os.environ.update(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(arguments.model, arguments.replicas, Path(folder))
    table = Table("stage", "seconds", title="The start of clickpose serve")
    for stage, took_s in (seconds | {"all": round(sum(seconds.values()), 2)}).items():
        table.add_row(stage, f"{took_s:.2f}")
    Console().print(table)
    if arguments.name:
        print(write_result(arguments.name, {"seconds": seconds, "replicas": arguments.replicas}))


def measure(model: Path, replicas: int, folder: Path) -> dict[str, float]:
    """Return the seconds of each stage, in order."""
    (picture,) = write_pictures(folder, 1)
    stages = Stages()
    from clickpose.commands import serving
    from integrations.label_studio.server import free_port
    from serve.app import AppArgs

    serving.logger.addHandler(stages)
    serving.logger.setLevel(logging.DEBUG)
    settings = {"model": str(model), "image_roots": [str(folder)], "replicas": replicas, "allow_anonymous": True}
    args = AppArgs.model_validate(settings)
    stages.end("imported Ray and the service")
    with serving.running_service(args, host="127.0.0.1", port=free_port()) as url:
        httpx.post(f"{url}/v1/detect", json={"image": picture}, timeout=60).raise_for_status()
        stages.end("answered for the first time")
    return stages.seconds


if __name__ == "__main__":
    main()
