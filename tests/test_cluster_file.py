"""The cluster file is one that Ray accepts; what the cloud makes of it only the cloud can tell."""

import copy
from pathlib import Path

import yaml

CLUSTER = Path(__file__).parents[1] / "cluster.yaml"


def test_ray_accepts_the_cluster_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(yaml.safe_load(CLUSTER.read_text())))
    validate_config(prepared)  # raises where Ray's schema is not met
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_gpus_are_on_workers_only() -> None:
    types = yaml.safe_load(CLUSTER.read_text())["available_node_types"]
    assert "GPU" not in types["head"]["resources"] and types["gpu"]["resources"]["GPU"] == 1
