"""Batches are a function of seed, epoch and step, and workers share an epoch between them."""

import pytest
import torch
from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.model import tiny
from clickpose.skeleton import Skeleton
from clickpose.training.augment import Sample
from clickpose.training.batches import Batch, EpochShare, TrainingBatches, load_batches, make_batch, pad_together
from clickpose.training.config import TrainConfig
from clickpose.training.scenes import SceneConfig
from tests.clickpose.builders import build_person

SKELETON = Skeleton("pair", ("first", "second"), (0.1, 0.1))
ALONE = SceneConfig(canvas_sizes_px=((64, 64), (96, 64)), max_pictures=1)
POINTS = [(10.0, 10.0), (40.0, 30.0)]


def annotations(count: int = 12) -> AnnotationSet:
    """Images of one person each, told apart by their ids."""
    images = (AnnotatedImage(i, f"{i}.png", (48, 48), (build_person(POINTS, id=i),)) for i in range(count))
    return AnnotationSet(SKELETON, tuple(images))


def load_image(image: AnnotatedImage) -> Image.Image:
    return Image.new("RGB", image.size_wh, (20 * image.id % 256, 0, 0))


def make_batches(source: AnnotationSet | None = None, load=load_image, **changes) -> TrainingBatches:
    share = {"epoch": 0} | {name: changes.pop(name) for name in ("epoch", "rank", "world_size") if name in changes}
    config = TrainConfig(**{"augment": ALONE, "batch_size": 2, "seed": 0, **changes})
    source = annotations() if source is None else source
    return TrainingBatches(source, load, tiny(2), config, EpochShare(**share))


def same(first: Batch, second: Batch) -> bool:
    boxes = zip(first.targets, second.targets, strict=True)
    return torch.equal(first.images, second.images) and all(torch.equal(a.boxes, b.boxes) for a, b in boxes)


def images_of(source: AnnotationSet | None = None, **changes) -> list[int]:
    """Ids of the images a worker opens, in order."""
    opened: list[int] = []
    batches = make_batches(source, lambda image: (opened.append(image.id), load_image(image))[1], **changes)
    for step in range(len(batches)):
        batches[step]
    return opened


def test_a_batch_does_not_depend_on_those_before_it() -> None:
    batches = make_batches(augment=SceneConfig())
    unbroken = [batches[step] for step in range(len(batches))]
    assert all(same(make_batches(augment=SceneConfig())[step], unbroken[step]) for step in (3, 1, 5))


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"rank": 1, "world_size": 2}])
def test_seeds_epochs_and_workers_differ(change: dict) -> None:
    assert not same(make_batches()[0], make_batches(**change)[0])


def test_drawing_ahead_in_other_processes_changes_nothing() -> None:
    batches = make_batches()
    ahead = list(load_batches(batches, num_workers=2))
    assert len(ahead) == len(batches) == 6
    assert all(same(batch, batches[step]) for step, batch in enumerate(ahead))


def test_an_epoch_shows_every_image_once() -> None:
    assert sorted(images_of()) == list(range(12))
    assert images_of(epoch=1) != images_of()


def test_workers_share_an_epoch_without_a_image_in_common() -> None:
    ranks = [images_of(rank=rank, world_size=3) for rank in range(3)]
    assert [len(ids) for ids in ranks] == [4, 4, 4]
    assert sorted(ranks[0] + ranks[1] + ranks[2]) == list(range(12))


def test_images_without_a_labelled_person_are_left_out() -> None:
    empty = AnnotatedImage(99, "99.png", (48, 48))
    unlabelled = AnnotatedImage(98, "98.png", (48, 48), (build_person(POINTS, visibility=[0, 0]),))
    crowd = AnnotatedImage(97, "97.png", (48, 48), (build_person(POINTS, is_crowd=True),))
    source = AnnotationSet(SKELETON, (*annotations(4).images, empty, unlabelled, crowd))
    assert sorted(images_of(source)) == [0, 1, 2, 3]


def test_an_epoch_is_as_long_as_asked() -> None:
    assert len(make_batches(scenes_per_epoch=20)) == 10
    assert len(images_of(scenes_per_epoch=20)) == 20
    assert len(make_batches(annotations(1))) == 1
    assert len(make_batches(AnnotationSet(SKELETON, ()))) == 0


def test_images_of_other_sizes_are_padded_and_their_persons_are_not() -> None:
    """Zeros after normalisation, where black is not zero; labels are relative to the image, not to the batch."""
    black = [Sample(Image.new("RGB", size), (build_person(POINTS),)) for size in ((64, 40), (48, 80))]
    batch = make_batch(black, tiny(2), num_keypoints=2)
    assert batch.images.shape == (2, 3, 80, 64)
    shown = [(~padding).nonzero() for padding in batch.padding]
    assert [(len(places), (places.amax(0) + 1).tolist()) for places in shown] == [
        (40 * 64, [40, 64]),
        (80 * 48, [80, 48]),
    ]
    assert torch.equal(batch.images[:, 0] == 0, batch.padding)
    for sample, target in zip(black, batch.targets, strict=True):
        torch.testing.assert_close(target.keypoints[0] * torch.tensor(sample.image.size), torch.tensor(POINTS))


def test_images_of_one_size_need_no_padding() -> None:
    separate = [torch.full((3, 4, 5), float(i)) for i in range(2)]
    images, padding = pad_together(separate)
    assert torch.equal(images, torch.stack(separate)) and padding is None


def test_scenes_of_a_batch_share_a_size_and_need_no_padding() -> None:
    batches = make_batches(augment=SceneConfig(canvas_sizes_px=((64, 64), (96, 64))), scenes_per_epoch=40)
    sizes = {tuple(batches[step].images.shape) for step in range(len(batches))}
    assert sizes == {(2, 3, 64, 64), (2, 3, 64, 96)}
    assert all(len(batches[step].targets) == 2 and batches[step].padding is None for step in range(len(batches)))
