"""The files for Kubernetes: every field is one that KubeRay's definitions have, and every command one that we have."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from clickpose.__main__ import app

EXAMPLES = Path(__file__).parents[1] / "examples"

# fields of KubeRay 1.6's definitions, those that these files may use
JOB = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "entrypoint",
    "rayClusterSpec",
    "runtimeEnvYAML",
    "shutdownAfterJobFinishes",
    "submissionMode",
    "ttlSecondsAfterFinished",
}
CRON_JOB = {"jobTemplate", "schedule", "suspend", "timeZone"}
CLUSTER = {"autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "rayVersion", "workerGroupSpecs"}
HEAD = {"rayStartParams", "template"}
WORKERS = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds"}
CONTAINER = {"name", "image", "env", "envFrom", "resources"}


def read(name: str, kind: str) -> dict[str, Any]:
    document = yaml.safe_load((EXAMPLES / name).read_text())
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", kind)
    return document["spec"]


def check_job(job: dict[str, Any]) -> None:
    assert set(job) <= JOB
    cluster = job["rayClusterSpec"]
    assert set(cluster) <= CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert all(set(group) <= WORKERS for group in cluster["workerGroupSpecs"])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert set(container) <= CONTAINER
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    check_command(job["entrypoint"])


def check_command(entrypoint: str) -> None:
    """Parse a command line with our own parser, without running it."""
    program, name, *words = shlex.split(entrypoint)
    group = typer.main.get_command(app)
    assert program == "clickpose"
    group.commands[name].make_context(name, words)


def test_the_job_that_prelabels() -> None:
    check_job(read("rayjob.yaml", "RayJob"))


def test_the_job_that_retrains_every_night() -> None:
    cron = read("raycronjob.yaml", "RayCronJob")
    assert set(cron) <= CRON_JOB
    assert len(cron["schedule"].split()) == 5
    check_job(cron["jobTemplate"])


@pytest.mark.parametrize("entrypoint", ["clickpose retrain --sotre s3://b", "clickpose prelabel s3://b/photos"])
def test_a_command_that_we_do_not_have_is_found_out(entrypoint: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such option|missing"):
        check_command(entrypoint)


def test_all_name_one_image_and_one_ray() -> None:
    import ray

    names = ("rayjob.yaml", "raycronjob.yaml", "rayservice.yaml")
    lines = [line for name in names for line in (EXAMPLES / name).read_text().splitlines()]
    assert len({line.split()[-1] for line in lines if " image: " in line}) == 1
    assert {line.split()[-1].strip('"') for line in lines if "rayVersion" in line} == {ray.__version__}
    assert f"rayproject/ray:{ray.__version__}" in (EXAMPLES / "Dockerfile").read_text()
