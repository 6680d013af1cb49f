"""The converted networks give what the originals give, and finder and looker read them rightly."""

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clickpose.annotations import AnnotatedImage
from clickpose.first_guess.finder import (
    AS_SCORED,
    CALIBRATION,
    NanoDetFinder,
    letterbox,
    person_chances,
    read_persons,
)
from clickpose.first_guess.looker import HEAT_SCALE, MoveNetLooker, to_tensor
from clickpose.first_guess.mobilenet import SameConv
from clickpose.first_guess.movenet import MoveNet
from clickpose.first_guess.networks import make_finder, make_looker
from clickpose.person_frame.frame import Frame
from integrations.coco import read_coco

PICTURES = Path(__file__).resolve().parents[2] / "examples" / "pictures"
SHARED = Path(__file__).resolve().parents[3] / "shared"
ORIGINALS, EXECUTOR = SHARED / "weights" / "first_guess", SHARED / "prototypes" / "tfjs_torch.py"
PHOTOS = SHARED / "data" / "coco_small" / "images"
CPU = torch.device("cpu")

needs_originals = pytest.mark.skipif(
    not (ORIGINALS.is_dir() and EXECUTOR.is_file() and PHOTOS.is_dir()),
    reason=f"the original networks and photos are not at {SHARED}: equality with them is not checked",
)
HEADS = ("model_1/re_lu_2/Relu", "model_1/re_lu_1/Relu", "model_1/re_lu/Relu", "kpt_heatmap_0/conv2d_5/BiasAdd")


@pytest.fixture(scope="module")
def executor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("executor", EXECUTOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(PHOTOS.iterdir())[:3]]


@pytest.fixture(scope="module")
def finder() -> NanoDetFinder:
    return make_finder(CPU)


@needs_originals
@pytest.mark.parametrize("name", ["thunder", "lightning"])
def test_a_looker_sees_what_movenet_sees(name: str, executor: ModuleType, photos: list[Image.Image]) -> None:
    looker = make_looker(name, CPU, torch.float32)
    original = executor.GraphModel(ORIGINALS / f"movenet-{name}.json")
    nodes = [next(node for node in original.nodes if node.endswith(head)) for head in HEADS]
    cells = looker.crop_px // 4
    for photo in photos:
        crop = photo.resize((looker.crop_px, looker.crop_px))
        with warnings.catch_warnings(action="ignore"):
            *pyramid, heat, pose = original.run(np.array(crop)[None], [*nodes, "Identity"])
        look = looker([crop])
        wanted = [torch.cat((pyramid[0], heat * HEAT_SCALE), -1), *pyramid[1:]]
        for ours, theirs in zip(look.maps, wanted, strict=True):
            assert torch.allclose(ours.permute(0, 2, 3, 1), theirs, atol=1e-4)
        # the original's size of a cell is rounded to half precision
        exact = pose.reshape(17, 3)[:, [1, 0]] / float(np.float16(1 / cells)) / cells
        assert torch.allclose(look.keypoints[0], exact, atol=1e-4)
        assert torch.allclose(look.heat[0], pose.reshape(17, 3)[:, 2], atol=1e-4)


@needs_originals
def test_the_finder_sees_what_nanodet_sees(executor: ModuleType, photos: list[Image.Image]) -> None:
    original, finder = executor.GraphModel(ORIGINALS / "nanodet.json"), make_finder(CPU, torch.float32)
    for photo in photos:
        pixels, _ = letterbox(photo)
        pixels = F.pad(pixels, (0, 416 - pixels.shape[3], 0, 416 - pixels.shape[2]))
        with warnings.catch_warnings(action="ignore"), torch.inference_mode():
            theirs = {tuple(map_.shape[1:]): map_[0] for map_ in original(pixels.numpy()).values()}
            ours = finder.network(pixels)
        for (logits, distances), cells in zip(ours, (52 * 52, 26 * 26, 13 * 13), strict=True):
            assert torch.allclose(logits[0].sigmoid().flatten(1).T, theirs[cells, 80], atol=1e-4)
            assert torch.allclose(distances[0].flatten(0, 1).flatten(1).T, theirs[cells, 44], atol=1e-4)


def test_a_box_is_read_where_the_maps_say() -> None:
    levels = []
    for stride, size in ((8, 8), (16, 4), (32, 2)):
        logits, distances = torch.full((1, 80, size, size), -9.0), torch.full((1, 4, 11, size, size), -20.0)
        distances[:, :, 2] = 20.0  # two strides to each side
        if stride == 16:
            logits[0, 0, 1, 2] = 5.0
        levels.append((logits, distances))
    boxes, scores = read_persons(levels)
    centre = torch.tensor([2.5, 1.5]) * 16
    assert torch.allclose(boxes, torch.cat((centre - 32, centre + 32))[None], atol=1e-3)
    assert scores.tolist() == pytest.approx([torch.tensor(5.0).sigmoid().item()])


@pytest.mark.parametrize("size_wh", [(640, 480), (100, 1000), (17, 416), (1, 1)])
def test_boxes_end_where_the_image_does(size_wh: tuple[int, int], finder: NanoDetFinder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (*size_wh[::-1], 3), dtype=np.uint8)
    found = finder(Image.fromarray(noise))
    assert (found.boxes_px >= 0).all() and (found.boxes_px <= np.tile(size_wh, 2)).all()
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_of_crops_is_looked_at_as_each_alone(dtype: torch.dtype) -> None:
    looker: MoveNetLooker = make_looker("lightning", CPU, dtype)
    rng = np.random.default_rng(1)
    crops = [Image.fromarray(rng.integers(0, 255, (192, 192, 3), dtype=np.uint8)) for _ in range(2)]
    together, alone = looker(crops), [looker([crop]) for crop in crops]
    for i, look in enumerate(alone):
        assert torch.allclose(together.maps[0][i : i + 1], look.maps[0], atol=1e-4)
        assert torch.allclose(together.keypoints[i : i + 1], look.keypoints, atol=1e-4)


def test_in_bfloat16_a_looker_sees_nearly_the_same() -> None:
    exact, fast = (make_looker("lightning", CPU, dtype) for dtype in (torch.float32, torch.bfloat16))
    crops = [crop for image in shipped() for crop in crops_of(image, exact.crop_px)]
    look, nearly = exact(crops), fast(crops)
    apart_px = (look.keypoints - nearly.keypoints).norm(dim=-1) * exact.crop_px
    assert apart_px[look.heat > 0.3].median() < 0.7
    assert (look.heat - nearly.heat).abs().median() < 0.02


def shipped() -> list[AnnotatedImage]:
    """Some of the shipped images with one or two persons."""
    return [image for image in read_coco(PICTURES / "annotations.json").images if 1 <= len(image.persons) <= 2][:4]


def crops_of(record: AnnotatedImage, crop_px: int) -> list[Image.Image]:
    with Image.open(PICTURES / "images" / record.file_name) as image:
        upright = image.convert("RGB")
    return [Frame.around(person.box_px).cut(upright, crop_px) for person in record.persons]


def test_crops_keep_their_values() -> None:
    crop = Image.new("RGB", (192, 192), (255, 0, 7))
    assert to_tensor([crop])[0, :, 5, 5].tolist() == [255.0, 0.0, 7.0]


def test_an_image_and_its_mirror_image_show_the_same_persons(photos: list[Image.Image], finder: NanoDetFinder) -> None:
    for photo in photos:
        found, mirrored = finder(photo), finder(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        likely, same = found.scores > 0.3, mirrored.scores > 0.3
        assert np.allclose(found.scores[likely], mirrored.scores[same], atol=0.1)


def test_of_two_boxes_with_one_score_the_larger_is_more_likely_a_person() -> None:
    boxes_px = torch.tensor([[0.0, 0.0, 10.0, 20.0], [0.0, 0.0, 100.0, 200.0]])
    small, large = person_chances(boxes_px, torch.tensor([0.3, 0.3]), (400, 300), CALIBRATION)
    assert 0 < small < large < 1


def test_without_a_calibration_chances_are_the_scores() -> None:
    boxes_px, scores = torch.tensor([[0.0, 0.0, 10.0, 20.0]] * 2), torch.tensor([0.1, 0.7])
    assert torch.allclose(person_chances(boxes_px, scores, (400, 300), AS_SCORED), scores)


def test_packed_convolutions_see_the_same() -> None:
    crops = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    torch.manual_seed(0)
    network = MoveNet(0.35).eval()
    with torch.inference_mode():
        before = network(crops)
        for part in network.modules():
            if isinstance(part, SameConv):
                part.pack()
        after = network(crops)
    for name in ("heatmaps", "regressed", "offsets"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), atol=1e-4, rtol=1e-4)
