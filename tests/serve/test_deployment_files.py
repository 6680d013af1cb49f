"""The example files for operators are valid for this version."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from serve import app
from serve.haproxy import ON_EVERY_NODE
from serve.settings import AppArgs

EXAMPLES = Path(__file__).parents[2] / "examples"


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((EXAMPLES / name).read_text()))


@pytest.mark.parametrize("name", ["serve.yaml", "rayservice.yaml"])
def test_example_configuration_files_are_valid(name: str) -> None:
    config = yaml.safe_load(read(name)["spec"]["serveConfigV2"]) if name == "rayservice.yaml" else read(name)
    (application,) = ServeDeploySchema.model_validate(config).applications
    module, builder = application.import_path.split(":")
    assert module == app.__name__ and hasattr(app, builder)
    assert AppArgs.model_validate(application.args).replicas == 4
    assert "secret" not in application.args and "label_studio_token" not in application.args
    with pytest.raises(ValueError, match="replica_count"):
        AppArgs.model_validate(application.args | {"replica_count": 4})


def test_every_node_enables_haproxy() -> None:
    cluster = read("rayservice.yaml")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for container in [one for group in groups for one in group["template"]["spec"]["containers"]]:
        assert {variable["name"]: variable["value"] for variable in container["env"]} == ON_EVERY_NODE
    starts = yaml.safe_load((EXAMPLES.parent / "cluster.yaml").read_text())
    told = " ".join(f"{name}={quote(value)}" for name, value in ON_EVERY_NODE.items())
    for command in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert starts[command][-1].startswith(f"{told} ray start")


def test_the_kubernetes_cluster_has_room_for_every_replica_and_uses_this_ray_version() -> None:
    cluster, args = read("rayservice.yaml")["spec"]["rayClusterConfig"], read("serve.yaml")["applications"][0]["args"]
    (workers,) = cluster["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert int(limits["nvidia.com/gpu"]) * workers["replicas"] >= args["replicas"] * args["num_gpus"]
    assert int(limits["cpu"]) * workers["replicas"] > args["replicas"] * AppArgs(**args).num_cpus
    assert cluster["rayVersion"].split(".")[0] == ray.__version__.split(".")[0]
