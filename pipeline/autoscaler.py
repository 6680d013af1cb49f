"""What the autoscaler of a cluster may start.

Ray tells which nodes there are, but not which there could be. That is in the autoscaler's configuration, a file on the
head. On Kubernetes it is not, so there only nodes that exist are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ON_HEAD = {"node:__internal_head__": 0.001}  # every head has 1 of it
CONFIG_OPTION, ADDRESS_OPTION = "--autoscaling-config=", "--gcs-address="


def could_have() -> dict[str, float]:
    """Return the resources of the connected cluster if its autoscaler starts all that it may; empty without one."""
    import ray

    found: dict[str, float] = ray.get(ray.remote(num_cpus=0, resources=ON_HEAD)(_read_on_head).remote())
    return found


def resources_of(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the resources of a head and of as many workers of each type as a cluster file allows."""
    most, total = config.get("max_workers", 2), Counter[str]()  # Ray's default
    for name, kind in config["available_node_types"].items():
        count = 1 if name == config["head_node_type"] else min(most, kind.get("max_workers", most))
        total.update({resource: count * float(amount) for resource, amount in kind.get("resources", {}).items()})
    return dict(total)


def _read_on_head() -> dict[str, float]:
    """Return what the file says that the autoscaler on this machine was started with."""
    import psutil  # Ray brings it
    import ray
    import yaml

    of_this_cluster = ADDRESS_OPTION + ray.get_runtime_context().gcs_address
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        files = [word.removeprefix(CONFIG_OPTION) for word in words if word.startswith(CONFIG_OPTION)]
        if files and of_this_cluster in words:
            return resources_of(yaml.safe_load(Path(files[0]).expanduser().read_text()))
    return {}
