"""A fine-tune on one narrow source forgets, and is refused; with replay it learns and forgets nothing, and is promoted.

The model is small and trained here, on drawn people. The narrow source shows them upside down in negative colours.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.checkpoints.model_folder import save_model
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from clickpose.training.config import TrainConfig
from clickpose.training.scenes import SceneConfig
from integrations.coco import write_coco
from pipeline.gold import name_gold
from pipeline.mixture import DataSource
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, retrain
from pipeline.store import Store
from pipeline.suspicion import Suspicion
from pipeline.train import TrainJob, train

SIDE_PX = 64
SKELETON = Skeleton.load("crowdpose14")
TRAINING = TrainConfig(
    epochs=3,
    batch_size=16,
    scenes_per_epoch=400,
    learning_rate=2e-3,
    backbone_learning_rate=1e-3,
    num_denoised=4,
    schedule="cosine",
    ema_decay=0.98,
    augment=SceneConfig(canvas_sizes_px=((SIDE_PX, SIDE_PX),), max_pictures=1, rotation_deg=5.0, scale=(0.9, 1.1)),
)


def draw(folder: Path, num_images: int, seed: int, change: Callable[[Image.Image], Image.Image] | None = None):
    """Write images of one person each, and return their annotations; ``change`` turns them upside down, too."""
    people = DrawnPeople(SKELETON, num_images=num_images, size_wh=(SIDE_PX, SIDE_PX), max_persons=1, seed=seed)
    records = []
    for record in people.annotations.images:
        image = people.load_image(record)
        if change:
            image = change(image.rotate(180))
            record = replace(record, id=10_000 + record.id, persons=tuple(map(upside_down, record.persons)))
        image.save(folder / record.file_name)
        records.append(record)
    return tuple(records)


def upside_down(person: PersonAnnotation) -> PersonAnnotation:
    last_px = SIDE_PX - 1
    keypoints_px = np.where(person.visibility[:, None] > 0, last_px - person.keypoints_px, 0).astype(np.float32)
    box_px = (last_px - person.box_px[[2, 3, 0, 1]]).astype(np.float32)
    persons_apart = person.id + 1_000_000
    return replace(person, id=persons_apart, keypoints_px=keypoints_px, box_px=box_px)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[AnnotatedImage, ...]]]:
    """What the champion learns from, what it is known by, and the narrow source."""
    folder = tmp_path_factory.mktemp("pictures")
    parts = {
        "learned": draw(folder, 400, seed=1),
        "gold": draw(folder, 40, seed=2),
        "narrow": draw(folder, 160, seed=3, change=ImageOps.invert),
    }
    write_coco(AnnotationSet(SKELETON, parts["learned"]), folder / "learned.json")
    return folder, parts


@pytest.fixture(scope="module")
def champion(images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows people as they are."""
    folder, _ = images
    home = tmp_path_factory.mktemp("champion")
    torch.manual_seed(0)
    network = ClickPose(replace(tiny(len(SKELETON)), num_persons=1, num_refined=1, min_score=0.3))
    save_model(home / "start", network, SKELETON, metrics={}, card="# Untrained\n")
    job = TrainJob(str(home / "start"), (DataSource(str(folder / "learned.json"), str(folder)),), TRAINING)
    train(job, home / "model", run=home / "run")
    return home / "model"


def believe(*_: object) -> list[Suspicion]:
    """Set nothing aside: to the champion, people upside down look as if their sides were swapped."""
    return []


@pytest.mark.slow
def test_a_narrow_source_is_refused_without_replay_and_accepted_with_it(images, champion, tmp_path) -> None:
    folder, parts = images
    store = Store(tmp_path / "store")
    Registry(store).promote(Registry(store).add(champion))
    name_gold(store, [image.file_name for image in parts["gold"]])
    collected = Collected(AnnotationSet(SKELETON, parts["gold"] + parts["narrow"]))
    alone = RetrainConfig(
        str(folder), replace(TRAINING, epochs=1), held_back_share=0.3, min_new_pictures=0, replay_share=0.0
    )
    refused = retrain(store, lambda: collected, alone, judge=believe)
    assert not refused.promoted
    assert "worse in" in refused.reason

    learned = DataSource(str(folder / "learned.json"), str(folder))
    together = replace(alone, training=replace(TRAINING, epochs=5), replay_share=0.6, replay=(learned,))
    accepted = retrain(store, lambda: collected, together, judge=believe)
    assert accepted.promoted, accepted.reason
