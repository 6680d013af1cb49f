"""A cluster whose autoscaler starts nodes with a GPU on this machine, and a folder that is labelled on one.

python -m tests.pipeline.autoscaling MODEL IMAGES FOLDER

Prints what came of it as JSON. A program of its own, because a process can use one Ray only, and Ray's settings have to
be in its environment: RAY_TMPDIR is a folder for this Ray alone.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import ray

from pipeline.cluster import connect
from pipeline.prelabel import prelabel, read_prelabels
from pipeline.train import scaling

HEAD, GPU_NODE = "ray.head.default", "gpu"  # the fake provider knows the head under this name only
SETTINGS = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}


def main(model: str, images: str, folder: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    start(address, Path(folder))
    try:
        os.environ["RAY_ADDRESS"] = address
        connect()
        seen = {"gpus at first": ray.cluster_resources().get("GPU", 0), "asked for": scaling(2, None).use_gpu}
        prelabel(images, f"{folder}/prelabels", model)
        labelled = sorted(Path(found.uri).name for found in read_prelabels(f"{folder}/prelabels"))
        gpus = ray.cluster_resources().get("GPU", 0)
        ray.shutdown()
    finally:
        stop()
    print(json.dumps(seen | {"gpus at last": gpus, "labelled": labelled}))


def start(address: str, folder: Path) -> None:
    """Start a head of two CPUs, whose autoscaler may start two nodes with a GPU."""
    (folder / "cluster.json").write_text(json.dumps(cluster_file(address)))
    command = [
        *("ray", "start", "--head", f"--port={address.partition(':')[2]}", "--node-ip-address=127.0.0.1"),
        *("--num-cpus=2", "--num-gpus=0", "--object-store-memory=100000000", "--include-dashboard=false"),
        f"--autoscaling-config={folder / 'cluster.json'}",
    ]
    subprocess.run(command, env=os.environ | SETTINGS, check=True, stdout=sys.stderr)


def cluster_file(address: str) -> dict[str, Any]:
    """Return the settings of Ray's fake provider, whose nodes are processes; it fills in no defaults."""
    types = {
        HEAD: {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
        GPU_NODE: {
            "resources": {"CPU": 2, "GPU": 1, "object_store_memory": 10**8},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        },
    }
    commands = "initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"
    return {
        "cluster_name": "fake",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": HEAD,
        "available_node_types": types,
        "file_mounts_sync_continuously": False,
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{f"{name}_commands": [] for name in commands},
    }


def stop() -> None:
    """End every process of this Ray; ``ray stop`` would end those of others, too."""
    import psutil  # Ray brings it

    mine = [process for process in psutil.process_iter() if process.pid != os.getpid() and belongs_here(process)]
    for process in mine:
        process.kill()
    psutil.wait_procs(mine, timeout=10)


def belongs_here(process: Any) -> bool:
    """Tell whether a process uses our folder for this Ray; one that has just ended, or is another user's, does not."""
    from psutil import Error

    try:
        return bool(process.environ().get("RAY_TMPDIR") == os.environ["RAY_TMPDIR"])
    except Error:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
