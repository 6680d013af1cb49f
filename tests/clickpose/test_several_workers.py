"""Several workers learn what one does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
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


def work(_: int, rank: int, folder: str) -> torch.Tensor:
    """Take one step as one of two workers; return its gradient."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", timedelta(minutes=5), 2, rank)
    state = new_state()
    state.network = DistributedDataParallel(state.network, find_unused_parameters=True)
    backward(state, [batch_of(rank, 2)], CONFIG)
    dist.destroy_process_group()
    return gradient_of(state)


def test_two_workers_give_the_gradient_of_one_with_the_double_batch(tmp_path: Path) -> None:
    shares = [batch_of(rank, 2) for rank in range(2)]
    assert len({len(target) for batch in shares for target in batch.targets}) > 1  # persons are not evenly shared
    other = mp.spawn(work, (1, str(tmp_path)), join=False, daemon=True)
    found = work(0, 0, str(tmp_path))
    other.join()
    state = new_state()
    whole = Batch(torch.cat([batch.images for batch in shares]), [target for b in shares for target in b.targets])
    backward(state, [whole], replace(CONFIG, batch_size=4))
    expected = gradient_of(state)
    assert (expected - found).norm() < 1e-5 * expected.norm()
