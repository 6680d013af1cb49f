"""Published variation of images: sizes and chances are those of the paper's code, and labels stay on their pixels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from clickpose.annotations import AnnotatedImage
from clickpose.errors import InvalidConfig
from clickpose.training.augment import Sample, TrainingImages
from clickpose.training.crops import CropConfig, crop, draw_window, mirror, resize
from clickpose.training.targets import make_target
from tests.clickpose.builders import build_person
from tests.clickpose.dots import COLOURS, HANDS, around, dotted, find_dot
from tests.clickpose.draws import assert_distributed, assert_share

PUBLISHED = CropConfig()
PLAIN, CROPPED = (CropConfig(crop=chance, flip=0) for chance in (0, 1))
SHORT_SIDES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
SPOTS = [(240.0, 160.0), (400.0, 280.0), (150.0, 340.0)]


def vary(samples: Sequence[Sample], config: CropConfig, seed: int = 0) -> list[Sample]:
    records = [AnnotatedImage(i, "", sample.image.size, sample.persons) for i, sample in enumerate(samples)]
    images = TrainingImages(records, lambda record: samples[record.id].image, HANDS)
    return config.draw_batch(range(len(samples)), images, np.random.default_rng(seed))


def grey(size_wh: tuple[int, int], *boxes_px: tuple[float, float, float, float], area_px: float = 1.0) -> Sample:
    """An image of persons whose keypoints are corners of their boxes."""
    persons = (build_person([(x0, y0), (x1, y0), (x1, y1)], area_px=area_px) for x0, y0, x1, y1 in boxes_px)
    return Sample(Image.new("L", size_wh), tuple(persons))


# -- images and labels go together


@pytest.mark.parametrize("config", [PLAIN, CROPPED, replace(PLAIN, flip=1), replace(CROPPED, flip=1)])
def test_keypoints_follow_their_pixels_under_the_name_they_now_have(config: CropConfig) -> None:
    shown_as = [COLOURS[i] for i in HANDS.flip_permutation] if config.flip else COLOURS
    found = 0
    for sample in vary([dotted((640, 480), SPOTS, radius=8)] * 8, config):
        for xy, colour in zip(sample.persons[0].keypoints_px, shown_as, strict=True):
            if (xy > 30).all() and (xy < np.array(sample.image.size) - 30).all():
                np.testing.assert_allclose(find_dot(sample.image, colour, around(xy, 28)), xy, atol=1.5)
                found += 1
    assert found >= 16


def test_nothing_is_mirrored_where_left_and_right_are_not_known() -> None:
    sample = grey((120, 80), (10, 10, 30, 60))
    images = TrainingImages(
        [AnnotatedImage(0, "", (120, 80))], lambda image: sample.image, replace(HANDS, flip_pairs=())
    )
    config = replace(PLAIN, flip=1, short_sides_px=(80,))
    sample.image.putpixel((0, 0), 255)
    (varied,) = config.draw_batch([0], images, np.random.default_rng(0))
    assert varied.image.getpixel((0, 0)) == 255


def test_mirroring_twice_changes_nothing() -> None:
    sample = Sample(dotted().image, (build_person([(0, 7), (90.25, 75), (119, 80)], visibility=[2, 1, 2]),))
    once, twice = mirror(sample, HANDS), mirror(mirror(sample, HANDS), HANDS)
    assert np.array_equal(twice.image, sample.image) and not np.array_equal(once.image, sample.image)
    for name in ("keypoints_px", "visibility", "box_px", "area_px"):
        np.testing.assert_array_equal(getattr(twice.persons[0], name), getattr(sample.persons[0], name))


def test_a_mirrored_keypoint_names_the_same_pixel() -> None:
    places, image = [(0, 7), (90, 75), (119, 80)], Image.new("RGB", (120, 120))
    for xy, colour in zip(places, COLOURS, strict=True):
        image.putpixel(xy, colour)
    mirrored = mirror(Sample(image, (build_person(places),)), HANDS)
    head, left, right = mirrored.persons[0].keypoints_px.astype(int).tolist()
    assert [mirrored.image.getpixel(tuple(xy)) for xy in (head, right, left)] == COLOURS


def test_size_and_area_grow_together() -> None:
    (person,) = resize(grey((200, 100), (20, 10, 120, 60), area_px=3000), (400, 300)).persons
    np.testing.assert_allclose(person.box_px, (40, 30, 240, 180))
    np.testing.assert_allclose(person.keypoints_px, [(40, 30), (240, 30), (240, 180)])
    assert person.area_px == pytest.approx(6 * 3000)


def test_a_crop_clips_and_keypoints_keep_their_visibility() -> None:
    person = build_person([(10, 20), (60, 50), (110, 90)], visibility=[2, 1, 2], area_px=1.0)
    (cropped,) = crop(Sample(Image.new("L", (120, 100)), (person,)), (30, 30, 90, 80)).persons
    np.testing.assert_array_equal(cropped.keypoints_px, [(0, 0), (30, 20), (60, 50)])
    np.testing.assert_array_equal(cropped.visibility, [2, 1, 2])
    np.testing.assert_array_equal(cropped.box_px, (0, 0, 60, 50))
    assert cropped.area_px == 60 * 50


def test_a_crop_drops_those_whose_box_it_misses() -> None:
    cropped = crop(grey((100, 100), (0, 0, 30, 30), (0, 0, 31, 31), (80, 40, 90, 60)), (30, 30, 80, 80))
    assert [person.box_px.tolist() for person in cropped.persons] == [[0, 0, 1, 1]]


def test_an_image_that_lost_its_persons_stays_without_any() -> None:
    empty = crop(grey((100, 100), (0, 0, 20, 20)), (50, 50, 100, 100))
    assert len(make_target(empty.persons, empty.image.size, 3)) == 0
    assert vary([empty], CROPPED)[0].persons == ()


def test_crowds_move_along_and_are_not_trained_on() -> None:
    sample = Sample(Image.new("L", (100, 100)), (build_person(SPOTS, visibility=[0] * 3, is_crowd=True),))
    (crowd,) = resize(sample, (200, 200)).persons
    assert crowd.is_crowd and crowd.box_px.tolist() == [300, 320, 800, 680]
    assert len(make_target([crowd], (200, 200), 3)) == 0


@pytest.mark.parametrize("config", [PLAIN, CROPPED, replace(CROPPED, flip=1)])
def test_missing_labels_stay_missing(config: CropConfig) -> None:
    person = build_person([(0, 0), *SPOTS[1:]], visibility=[0, 0, 2], box_px=np.array([0, 0, 640, 480]))
    (varied,) = vary([Sample(Image.new("L", (640, 480)), (person,))], config)[0].persons
    labelled = 1 if config.flip else 2
    assert varied.visibility.nonzero()[0].tolist() == [labelled]
    assert not np.delete(varied.keypoints_px, labelled, 0).any()


# -- chances


def test_all_published_sizes_come_equally_often() -> None:
    sizes = [sample.image.size for sample in vary([grey((640, 480))] * 300, PLAIN)]
    assert set(sizes) == {(int(side * 640 / 480), side) for side in SHORT_SIDES}
    assert_distributed(torch.tensor([SHORT_SIDES.index(h) for _, h in sizes]), torch.ones(11))


def test_long_images_are_limited() -> None:
    assert {sample.image.size for sample in vary([grey((300, 1200))] * 10, PLAIN)} == {(333, 1332)}


def test_half_of_the_images_are_cropped_and_another_half_mirrored() -> None:
    everyone = replace(grey((640, 480), (0, 0, 640, 480)).persons[0], area_px=0.3 * 640 * 480)
    left = build_person([(0, 0)] * 3, visibility=[0, 1, 0], box_px=np.array([0, 0, 640, 480]))
    persons = [s.persons for s in vary([Sample(Image.new("L", (640, 480)), (everyone, left))] * 300, PUBLISHED)]
    cropped = [p[0].area_px > 0.9 * np.prod(p[0].box_px[2:]) for p in persons]  # its area is that of its box now
    mirrored = [p[1].visibility[2] == 1 for p in persons]
    counts = torch.tensor([2 * int(a) + int(b) for a, b in zip(cropped, mirrored, strict=True)])
    assert_distributed(counts, torch.ones(4))
    assert_share(torch.tensor(cropped), 0.5)


def test_crops_come_from_all_published_sizes() -> None:
    """What a crop shows of rows of little boxes tells how large the image was."""
    rows = [(x, y, x + 8, y + 8) for x in range(0, 640, 40) for y in range(0, 480, 40)]
    still = replace(CROPPED, short_sides_px=(384,), crop_sides_px=(384, 384))
    widths = [max(p.box_px[2] - p.box_px[0] for p in s.persons) for s in vary([grey((640, 480), *rows)] * 200, still)]
    sides = [round(float(width) / 8 * 480) for width in widths]
    assert set(sides) == {400, 500, 600}
    assert_distributed(torch.tensor([(side - 400) // 100 for side in sides]), torch.ones(3))


def test_windows_have_any_size_in_range_and_any_place() -> None:
    rng = np.random.default_rng(0)
    windows = np.array([draw_window((15, 40), (10, 20), rng) for _ in range(3000)])
    widths, heights = (windows[:, 2:] - windows[:, :2]).T
    assert_distributed(torch.tensor(widths - 10), torch.ones(6))  # an image of 15 gives no more
    assert_distributed(torch.tensor(heights - 10), torch.ones(11))
    assert_distributed(torch.tensor(windows[widths == 11, 0]), torch.ones(5))


# -- settings


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"flip": 1.5}, r"flip is 1\.5"),
        ({"crop": -0.1}, r"crop is -0\.1"),
        ({"short_sides_px": ()}, r"short_sides_px is \(\)"),
        ({"crop_from_px": (16,)}, "crop_from_px .* 32 pixels or more"),
        ({"long_side_px": 0}, "long_side_px is 0"),
        ({"crop_sides_px": (600, 384)}, "crop_sides_px .* must ascend"),
        ({"crop_from_px": (300, 500)}, "crop_sides_px .* at most those of crop_from_px"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        CropConfig(**changes)
