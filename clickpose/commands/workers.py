"""Options of commands that work on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

GpusPerWorker = Annotated[
    float | None, typer.Option(help="GPUs of each worker; by default 1 if the cluster can have any.", min=0)
]


@dataclass(frozen=True)
class WorkerOptions:
    """The Ray workers that train."""

    workers: Annotated[int, typer.Option(help="Ray workers; 0 for this process.", min=0)] = 0
    max_failures: Annotated[int, typer.Option(help="Crashes of a worker after which training fails.", min=0)] = 3
    gpus_per_worker: GpusPerWorker = None
