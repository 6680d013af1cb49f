"""The numbers of a training for tools that plot them: TensorBoard's event files always, MLflow where it is set up.

<run>/events/      TensorBoard: ``tensorboard --logdir <run>/events``
<run>/mlflow.json  which run of MLflow it is, so that a resumed training continues it
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tensorboardX import SummaryWriter

from pipeline.store import Store

EVENTS, MLFLOW = "events", "mlflow.json"


class Tracker(Protocol):
    """Is told the numbers of every epoch."""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note the numbers of an epoch."""


class TensorBoard:
    """Writes event files into the folder of a run, also where that is a bucket."""

    def __init__(self, run: str) -> None:
        self.store, self.folder = Store(run), tempfile.TemporaryDirectory(prefix="clickpose-events-")
        self.writer = SummaryWriter(self.folder.name)

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note the numbers of an epoch."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()
        for file in Path(self.folder.name).iterdir():
            self.store.write_bytes(f"{EVENTS}/{file.name}", file.read_bytes())


class MLflow:
    """Logs to the server that ``MLFLOW_TRACKING_URI`` names."""

    def __init__(self, run: str, settings: Mapping[str, Any]) -> None:
        import mlflow

        self.client, store = mlflow.MlflowClient(), Store(run)
        if store.exists(MLFLOW):
            self.id = str(store.read_json(MLFLOW)["run_id"])
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "clickpose")
        experiment = self.client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(name)
        self.id = self.client.create_run(experiment_id, run_name=run).info.run_id
        store.write_json(MLFLOW, {"run_id": self.id})
        for key, value in settings.items():
            self.client.log_param(self.id, key, value)

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note the numbers of an epoch."""
        for name, value in metrics.items():
            self.client.log_metric(self.id, name, value, step=epoch)


def trackers(run: str, settings: Mapping[str, Any]) -> Sequence[Tracker]:
    """Return TensorBoard's tracker and, if MLflow is installed and its server named, MLflow's.

    Args:
        run: folder or URI of the run.
        settings: of the training, noted once.
    """
    has_mlflow = importlib.util.find_spec("mlflow") is not None and "MLFLOW_TRACKING_URI" in os.environ
    return [TensorBoard(run), *([MLflow(run, settings)] if has_mlflow else [])]
