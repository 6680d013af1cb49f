"""Collect 20,000 annotated tasks in full, then again after 50 of them changed.

python -m benchmarks.collect

Label Studio is replaced by one in memory that answers without delay; a real one takes longer for a full pass.
"""

from __future__ import annotations

import sys
import tempfile
import time

import httpx

from clickpose.commands.collecting import ProjectReader, read_project
from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.policy import Policy
from integrations.label_studio.simulated_server import SimulatedServer, random_result
from pipeline.store import Store

SIZE_WH, SKELETON = (256, 256), Skeleton.load("coco17")
NUM_TASKS, NUM_CHANGED = 20_000, 50


def main(num_tasks: int) -> None:
    results = [random_result(seed, SKELETON, SIZE_WH) for seed in range(50)]
    studio = SimulatedServer([results[number % 50] for number in range(num_tasks)], SIZE_WH)
    client = LabelStudio("http://studio", "0" * 40, transport=httpx.MockTransport(studio))
    reader = ProjectReader(client, 1, SKELETON, Policy.latest)
    with tempfile.TemporaryDirectory() as folder:
        full_s = timed(reader, Store(folder))
        studio.pass_time(60)
        for number in range(1, NUM_CHANGED + 1):
            studio.annotate(number, results[-number])
        again_s = timed(reader, Store(folder))
    print(f"{num_tasks} tasks in {full_s:.1f} s; after {NUM_CHANGED} changed, {again_s:.1f} s: {again_s / full_s:.3f}")


def timed(reader: ProjectReader, store: Store) -> float:
    began = time.perf_counter()
    read_project(reader, store)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_TASKS)
