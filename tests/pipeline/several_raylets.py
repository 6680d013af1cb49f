"""A cluster of several raylets on this machine, of which one is killed during pre-labelling and one during training.

python -m tests.pipeline.several_raylets MODEL PICTURES FOLDER

Prints what came of it as JSON. A program of its own, because a process can use one Ray only.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

import pipeline.train
from clickpose.training.config import TrainConfig
from clickpose.training.scenes import SceneConfig
from pipeline.cluster import connect
from pipeline.labeller import load_predictor
from pipeline.mixture import DataSource
from pipeline.prelabel import PrelabelOptions, prelabel, read_prelabels
from pipeline.run_log import read_log
from pipeline.train import TrainJob, train
from pipeline.train_worker import train_worker

WAIT_S = 120.0
CONFIG = TrainConfig(
    epochs=4,
    batch_size=2,
    scenes_per_epoch=8,
    learning_rate=1e-3,
    num_denoised=4,
    augment=SceneConfig(canvas_sizes_px=((64, 64),), max_pictures=1),
)


def main(model: str, images: str, folder: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    connect()
    try:
        labelled = pre_label(cluster, nodes, model, images, folder)
        cluster.add_node(num_cpus=2)
        curves = [train_on_two(model, images, f"{folder}/undisturbed", lambda node: None)]
        cluster.add_node(num_cpus=2)
        killed: list[str] = []

        def kill(node_id: str) -> None:
            (node,) = (one for one in cluster.worker_nodes if one.node_id == node_id)
            cluster.remove_node(node, allow_graceful=False)
            killed.append(node_id)

        curves.append(train_on_two(model, images, f"{folder}/killed", kill))
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps({"labelled": labelled, "curves": curves, "killed": len(killed)}))


def pre_label(cluster: Cluster, nodes: list[Any], model: str, images: str, folder: str) -> list[str]:
    """Label, and kill the node of an actor that has begun; return the name of each label written."""
    begun = Path(folder) / "begun"

    def slow(one: Any) -> Any:
        begun.write_text(ray.get_runtime_context().get_node_id())
        time.sleep(1.0)
        return load_predictor(one)

    def kill() -> None:
        wait_for(begun.exists)
        time.sleep(1.5)
        (node,) = (one for one in nodes if one.node_id == begun.read_text())
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    options = PrelabelOptions(shard_size=1, num_workers=2)
    prelabel(images, f"{folder}/prelabels", model, options, load=slow)
    killer.join()
    return sorted(Path(found.uri).name for found in read_prelabels(f"{folder}/prelabels"))


def train_on_two(model: str, images: str, run: str, kill: Callable[[str], None]) -> list[dict[str, float]]:
    """Train on two workers; after two epochs, call ``kill`` with the node of the second; return all epochs."""
    place = Path(run).with_suffix(".node")

    def placed(settings: dict[str, Any]) -> None:
        if ray.train.get_context().get_world_rank() == 1:
            place.write_text(ray.get_runtime_context().get_node_id())
        train_worker(settings)

    def kill_later() -> None:
        wait_for(lambda: len(read_log(run)["epochs"]) >= 2)
        kill(place.read_text())

    pipeline.train.train_worker = placed
    killer = threading.Thread(target=kill_later)
    killer.start()
    job = TrainJob(model, (DataSource(f"{images}/annotations.json", images),), CONFIG)
    train(job, f"{run}-model", run=run, num_workers=2)
    killer.join()
    return list(read_log(run)["epochs"])


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
