"""The cluster files are such that Ray accepts them; what a cloud makes of them only the cloud can tell."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError

ROOT = Path(__file__).parents[1]
CLOUDS = ("cluster.yaml", "examples/cluster-gcp.yaml")
FILES = (*CLOUDS, "examples/cluster-on-premises.yaml")


def read(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / file).read_text()))


@pytest.mark.parametrize("file", FILES)
def test_ray_accepts_the_cluster_file(file: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(read(file)))
    validate_config(prepared)  # raises where Ray's schema is not met
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_what_ray_does_not_know_is_refused() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(ValidationError, match="GPUs"):
        validate_config(prepare_config(read("cluster.yaml") | {"GPUs": 4}))


@pytest.mark.parametrize("file", CLOUDS)
def test_gpus_are_on_workers_only(file: str) -> None:
    types = read(file)["available_node_types"]
    assert "GPU" not in types["head"]["resources"] and types["gpu"]["resources"]["GPU"] == 1


def test_machines_of_ones_own_are_all_used() -> None:
    config = read("examples/cluster-on-premises.yaml")
    assert config["min_workers"] == config["max_workers"] == len(config["provider"]["worker_ips"])


@pytest.mark.parametrize("file", FILES)
def test_all_start_ray_the_same_way(file: str) -> None:
    same = "setup_commands", "head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude"
    assert {key: read(file)[key] for key in same} == {key: read("cluster.yaml")[key] for key in same}
