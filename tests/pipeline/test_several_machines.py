"""Several workers learn what one does, and GPUs are asked for where a cluster could have any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ray._private.state import state
from torch.nn.parallel import DistributedDataParallel

from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from clickpose.training.batches import Batch, EpochShare, TrainingBatches
from clickpose.training.config import TrainConfig
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.loop import backward
from clickpose.training.scenes import SceneConfig
from clickpose.training.state import TrainState, build_state, unwrap
from pipeline.train import scaling

SKELETON = Skeleton.load("coco17")
DRAWN = DrawnPeople(SKELETON, num_images=4, size_wh=(96, 96), max_persons=2)
CONFIG = TrainConfig(  # without noise and clicks, which every worker draws by itself
    batch_size=2,
    scenes_per_epoch=4,
    num_denoised=0,
    feedback=FeedbackConfig(probability=0),
    augment=SceneConfig(((96, 96),), max_pictures=1, scale=(1, 1), rotation_deg=0, shift=0, flip=0, colour=0),
)


def batch_of(rank: int, world_size: int) -> Batch:
    share, network = EpochShare(0, rank, world_size), tiny(len(SKELETON))
    return TrainingBatches(DRAWN.annotations, DRAWN.load_image, network, CONFIG, share)[0]


def new_state() -> TrainState:
    torch.manual_seed(0)
    return build_state(ClickPose(tiny(len(SKELETON))), SKELETON, CONFIG)


def gradient_of(state: TrainState) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in unwrap(state.network).parameters() if p.grad is not None])


def work(rank: int, folder: str) -> None:
    """Take one step as one of two workers; the first writes its gradient."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    state = new_state()
    state.network = DistributedDataParallel(state.network, find_unused_parameters=True)
    backward(state, [batch_of(rank, 2)], CONFIG)
    if rank == 0:
        torch.save(gradient_of(state), f"{folder}/gradient.pt")
    dist.destroy_process_group()


def test_two_workers_give_the_gradient_of_one_with_the_double_batch(tmp_path: Path) -> None:
    shares = [batch_of(rank, 2) for rank in range(2)]
    assert len({len(target) for batch in shares for target in batch.targets}) > 1  # persons are not evenly shared
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    state = new_state()
    whole = Batch(torch.cat([batch.images for batch in shares]), [target for b in shares for target in b.targets])
    backward(state, [whole], replace(CONFIG, batch_size=4))
    expected, found = gradient_of(state), torch.load(tmp_path / "gradient.pt", weights_only=True)
    assert (expected - found).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize(
    ("has", "could_have", "asked_for"),
    [({}, {}, 0), ({"GPU": 2.0}, {}, 1), ({}, {"GPU": 4.0}, 1), ({"GPU": 2.0}, {"GPU": 4.0}, 1)],
)
def test_gpus_are_asked_for_where_the_cluster_has_any_or_could_start_some(
    has: dict[str, float], could_have: dict[str, float], asked_for: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 8.0, **has})
    monkeypatch.setattr(state, "get_max_resources_from_cluster_config", lambda: could_have)
    asked = scaling(2, None).resources_per_worker or {}
    assert asked.get("GPU", 0) == asked_for
    assert (scaling(2, 0.5).resources_per_worker or {})["GPU"] == 0.5
    assert not scaling(2, 0).use_gpu
