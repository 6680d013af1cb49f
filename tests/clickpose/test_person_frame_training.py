"""Crops are drawn once and shown rightly, and the pose layers learn from them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.errors import ImageError, InvalidConfig
from clickpose.first_guess.finder import Found
from clickpose.first_guess.looker import MAP_CHANNELS, Look
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.maps import KEPT_SIZES
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from clickpose.training.batches import load_batches
from clickpose.training.config import TrainConfig, fine_tuning_for, person_frame_training, published
from clickpose.training.loop import train_one_epoch
from clickpose.training.person_frame.batches import CropBatches, KeptCrops, vary
from clickpose.training.person_frame.drawing import IMAGES_PER_FILE, CropDrawer, mirrored
from clickpose.training.person_frame.epochs import CropEpochs, CropSource
from clickpose.training.person_frame.settings import DrawConfig, LoopConfig
from clickpose.training.person_frame.step import CropTrainingStep
from clickpose.training.state import build_state

COCO17 = Skeleton.load("coco17")
SMALL = PersonFrameConfig(17, width=32, ffn_width=32, num_heads=4, num_points=2, pose_layers=2)


class NoFinder:
    def __call__(self, image: Image.Image) -> Found:
        return Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class CountingLooker:
    """Sees noise, and every keypoint in the middle of the crop."""

    crop_px, trained_further = 32, ""
    num_looks = 0

    def __call__(self, crops: list[Image.Image]) -> Look:
        self.num_looks += len(crops)
        generator, n = torch.Generator().manual_seed(0), len(crops)
        maps = [torch.randn(n, c, s, s, generator=generator) for c, s in zip(MAP_CHANNELS, KEPT_SIZES, strict=True)]
        return Look((maps[0], maps[1], maps[2]), torch.full((n, 17, 2), 0.5), torch.ones(n, 17))


def make_person(number: int, corner: tuple[float, float] = (20, 10)) -> PersonAnnotation:
    rng = np.random.default_rng(number)
    keypoints_px = (np.array(corner) + rng.random((17, 2)) * (40, 80)).astype(np.float32)
    box_px = np.array([*corner, corner[0] + 40, corner[1] + 80], np.float32)
    return PersonAnnotation(number, keypoints_px, np.full(17, 2), box_px, 1600.0)


def make_set(num_images: int = 3) -> AnnotationSet:
    images = [
        AnnotatedImage(i, f"{i}.jpg", (120, 100), (make_person(2 * i), make_person(2 * i + 1, (60, 15))))
        for i in range(1, num_images + 1)
    ]
    return AnnotationSet(COCO17, tuple(images))


def open_image(image: AnnotatedImage) -> Image.Image:
    return Image.new("RGB", image.size_wh, (10 * image.id, 100, 50))


@pytest.fixture
def drawer() -> CropDrawer:
    return CropDrawer(NoFinder(), CountingLooker(), DrawConfig())  # type: ignore[arg-type]


@pytest.fixture
def crops(drawer: CropDrawer, tmp_path: Path) -> KeptCrops:
    return KeptCrops(list(drawer.draw(make_set(), open_image, tmp_path, 0)))


def test_every_person_is_drawn_once_and_never_again(drawer: CropDrawer, tmp_path: Path) -> None:
    first = list(drawer.draw(make_set(), open_image, tmp_path, 0))
    assert drawer.looker.num_looks == 6  # type: ignore[attr-defined]
    assert list(drawer.draw(make_set(), open_image, tmp_path, 0)) == first
    assert drawer.looker.num_looks == 6  # type: ignore[attr-defined]
    list(drawer.draw(make_set(), open_image, tmp_path, 1))
    assert drawer.looker.num_looks == 12  # type: ignore[attr-defined]


def test_a_data_set_that_grows_is_not_drawn_again(drawer: CropDrawer, tmp_path: Path) -> None:
    list(drawer.draw(make_set(IMAGES_PER_FILE), open_image, tmp_path, 0))
    before = drawer.looker.num_looks  # type: ignore[attr-defined]
    grown = make_set(IMAGES_PER_FILE + 3)
    by_name = replace(grown, images=tuple(reversed(grown.images)))  # as a data set of other file names is sorted
    drawn = KeptCrops(list(drawer.draw(by_name, open_image, tmp_path, 0)))
    assert drawer.looker.num_looks == before + 6 and len(drawn) == 2 * len(grown)  # type: ignore[attr-defined]


def test_no_more_persons_are_drawn_than_an_epoch_shows(drawer: CropDrawer, tmp_path: Path) -> None:
    many = make_set(4 * IMAGES_PER_FILE)
    config = person_frame_training(batch_size=10, scenes_per_epoch=2 * IMAGES_PER_FILE)
    sources = [CropSource(many, 0.5), CropSource(make_set(1), 0.5)]
    epochs = CropEpochs(sources, open_image, drawer, config, tmp_path)
    drawings = [set(epochs.batches(epoch).crops.names) | {"1.jpg"} for epoch in (0, 1, 4, 8, 12, 16, 20)]
    assert all(len(names) <= IMAGES_PER_FILE + 1 for names in drawings)
    assert drawings[0] == drawings[1] and len(set.union(*drawings)) > IMAGES_PER_FILE + 1


def test_a_changed_annotation_is_drawn_again(drawer: CropDrawer, tmp_path: Path) -> None:
    first = list(drawer.draw(make_set(), open_image, tmp_path, 0))
    person = make_person(2)
    moved = replace(person, keypoints_px=person.keypoints_px + 1)
    images = make_set().images
    changed = replace(make_set(), images=(replace(images[0], persons=(moved,)), *images[1:]))
    assert list(drawer.draw(changed, open_image, tmp_path, 0)) != first


def test_a_file_that_cannot_be_written_is_named(drawer: CropDrawer, tmp_path: Path) -> None:
    ((_, folder),) = drawer.parts(make_set(), tmp_path)
    (folder / "000.unfinished").mkdir(parents=True)
    with pytest.raises(OSError, match=r"crops cannot be written to .*000\.unfinished"):
        list(drawer.draw(make_set(), open_image, tmp_path, 0))


def test_only_the_drawing_that_is_forgotten_is_deleted(drawer: CropDrawer, tmp_path: Path) -> None:
    kept, forgotten = (list(drawer.draw(make_set(), open_image, tmp_path, drawing)) for drawing in (0, 2))
    drawer.forget(make_set(), tmp_path, 2)
    assert all(file.exists() for file in kept) and not any(file.exists() for file in forgotten)


def test_an_image_that_cannot_be_used_is_left_out_by_name(
    drawer: CropDrawer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def open_others(image: AnnotatedImage) -> Image.Image:
        if image.id == 2:
            raise ImageError(f"{image.file_name} is truncated")
        return open_image(image)

    with pytest.raises(ImageError, match=r"2\.jpg is truncated"):
        list(drawer.draw(make_set(), open_others, tmp_path / "strict", 0))
    patient = replace(drawer, skip_bad=True)
    assert set(KeptCrops(list(patient.draw(make_set(), open_others, tmp_path, 0))).names) == {"1.jpg", "3.jpg"}
    assert "left out of training: 2.jpg is truncated" in caplog.text
    only_bad = AnnotationSet(COCO17, make_set().images[1:2])
    assert list(patient.draw(only_bad, open_others, tmp_path / "none", 0)) == []


def test_crops_know_their_images(crops: KeptCrops) -> None:
    assert crops.names == ["1.jpg", "1.jpg", "2.jpg", "2.jpg", "3.jpg", "3.jpg"]


def test_a_mirrored_person_mirrored_again_is_the_person() -> None:
    person = make_person(1)
    twice = mirrored(mirrored(person, 120, COCO17), 120, COCO17)
    assert np.allclose(twice.keypoints_px, person.keypoints_px) and np.allclose(twice.box_px, person.box_px)


def test_a_varied_batch_shows_the_same_keypoints_at_the_same_places_of_the_maps(crops: KeptCrops) -> None:
    batch = crops.batch([0, 1, 2])
    varied = vary(batch, torch.Generator().manual_seed(1))
    corner, side = varied.window[:, None, :2], varied.window[:, None, 2:]
    assert torch.allclose(corner + varied.keypoints * side, batch.keypoints, atol=1e-5)
    assert torch.allclose(corner + varied.looked * side, batch.looked, atol=1e-5)


def test_the_same_step_of_an_epoch_is_the_same_batch(crops: KeptCrops) -> None:
    once, again = (CropBatches(crops, batch_size=4, count=3, seed=7) for _ in range(2))
    assert torch.equal(once[2].keypoints, again[2].keypoints)
    assert not torch.equal(once[1].keypoints, once[2].keypoints)
    assert len(once.names_in(2)) == 4


def test_sources_are_drawn_by_their_weights(drawer: CropDrawer, tmp_path: Path) -> None:
    many, few = make_set(4), make_set(1)
    few = replace(few, images=(replace(few.images[0], file_name="few.jpg"),))
    config = person_frame_training(batch_size=50)
    epochs = CropEpochs([CropSource(many, 1.0), CropSource(few, 3.0)], open_image, drawer, config, tmp_path)
    batches = epochs.batches(0)
    drawn = [name for step in range(20) for name in batches.names_in(step)]
    assert drawn.count("few.jpg") / len(drawn) == pytest.approx(0.75, abs=0.05)


def test_keypoints_without_a_label_teach_nothing(crops: KeptCrops) -> None:
    torch.manual_seed(0)
    step = CropTrainingStep(PersonFrameNetwork(SMALL), COCO17, LoopConfig(rounds=(1,), first_clicks=(0,)))
    batch = crops.batch([0, 1])
    labelled = batch.labelled.clone()
    labelled[:, 5:] = 0
    elsewhere = batch.keypoints.clone()
    elsewhere[:, 5:] += 0.2
    losses = [
        step(replace(batch, keypoints=k, labelled=labelled), 0, 0, torch.Generator().manual_seed(0))[0]
        for k in (batch.keypoints, elsewhere)
    ]
    assert losses[0] == losses[1]


def test_a_looker_of_its_own_stays_as_it_is(crops: KeptCrops) -> None:
    network = PersonFrameNetwork(replace(SMALL, looker="lightning")).with_own_looker()
    config = person_frame_training(batch_size=2, learning_rate=1e-2, warmup_steps=0, epochs=1)
    state, batches = build_state(network, COCO17, config), CropBatches(crops, batch_size=2, count=2, seed=0)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    train_one_epoch(state, load_batches(batches), config, 2)
    changed = {name for name, weight in network.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed and not any(name.startswith("looker.") for name in changed)


def test_the_pose_layers_learn(crops: KeptCrops) -> None:
    torch.manual_seed(0)
    config = person_frame_training(batch_size=6, learning_rate=3e-3, schedule="constant", warmup_steps=0, epochs=1)
    state = build_state(PersonFrameNetwork(SMALL), COCO17, config)
    losses = [
        train_one_epoch(state, load_batches(CropBatches(crops, 6, 15, seed)), config, 15)["train/loss"]
        for seed in (0, 1, 2, 3)
    ]
    assert losses[-1] < 0.92 * losses[0]


@pytest.mark.parametrize("recipe", [published, lambda: TrainConfig()])
def test_a_recipe_of_the_published_form_is_refused(recipe: Callable[[], TrainConfig]) -> None:
    with pytest.raises(InvalidConfig, match="recipe"):
        build_state(PersonFrameNetwork(SMALL), COCO17, recipe())


def test_settings_go_to_json_and_back() -> None:
    config = fine_tuning_for(SMALL.to_dict())
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert isinstance(config.augment, DrawConfig)
