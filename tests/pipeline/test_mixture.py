"""Several data sets trained on together: each has its share, and a share is the same every time it is drawn."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clickpose.annotations import AnnotationSet
from clickpose.commands.data_sources import data_sources
from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from integrations.coco import write_coco
from pipeline.mixture import DataSource, Mixture, open_mixture, shares

COCO17, CROWDPOSE14 = Skeleton.load("coco17"), Skeleton.load("crowdpose14")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two data sets of 4 and 12 images, of other sizes and other skeletons, whose images have the same names."""
    folders = []
    for skeleton, num_images, width in ((COCO17, 4, 40), (CROWDPOSE14, 12, 60)):
        folder = tmp_path_factory.mktemp("data")
        people = DrawnPeople(skeleton, num_images=num_images, size_wh=(width, 40), max_persons=1)
        write_coco(people.annotations, folder / "data.json")
        for image in people.annotations.images:
            people.load_image(image).save(folder / image.file_name)
        folders.append(folder)
    return folders


def mix(folders: list[Path], *weights: float) -> Mixture:
    files = [str(folder / "data.json") for folder in folders]
    return open_mixture(data_sources(files, weights=weights), COCO17)


def sources_of(epoch: AnnotationSet) -> dict[str, int]:
    return dict(Counter(image.file_name.partition("/")[0] for image in epoch.images))


def test_each_source_has_its_share(folders: list[Path]) -> None:
    mixture = mix(folders, 1, 3)
    assert sources_of(mixture.epoch(40, (0,))) == {"0": 10, "1": 30}
    assert sources_of(mixture.epoch(8, (0,))) == {"0": 2, "1": 6}


def test_keypoints_that_the_model_does_not_have_are_named_in_the_log(
    folders: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    mix(folders)
    file = folders[1] / "data.json"
    assert caplog.messages == [f"{file}: skeleton 'coco17' has no head, neck: they are left out"]


def test_an_epoch_without_a_size_goes_once_through_the_first_source(folders: list[Path]) -> None:
    epoch = mix(folders, 2, 1).epoch(None, (0,))
    assert sources_of(epoch) == {"0": 4, "1": 2}
    assert len({image.file_name for image in epoch.images}) == 6


def test_one_source_is_given_whole_and_in_order(folders: list[Path]) -> None:
    epoch = mix(folders[:1]).epoch(2, (0,))
    assert [image.id for image in epoch.images] == [1, 2, 3, 4]


def test_a_source_is_used_up_before_it_repeats(folders: list[Path]) -> None:
    drawn = Counter(image.file_name for image in mix(folders, 1, 1).epoch(20, (0,)).images if image.file_name[0] == "0")
    assert sorted(drawn.values()) == [2, 2, 3, 3]


def test_draws_follow_the_seed(folders: list[Path]) -> None:
    def names(seed: int) -> list[str]:
        return [image.file_name for image in mix(folders, 1, 1).epoch(8, (seed,)).images]

    assert names(1) == names(1) != names(2)


def test_images_are_opened_from_their_own_folder(folders: list[Path]) -> None:
    mixture = mix(folders, 1, 1)
    for image in mixture.epoch(8, (0,)).images:
        assert mixture.load_image(image).size == image.size_wh == ((40, 40) if image.file_name[0] == "0" else (60, 40))


def test_an_empty_source_takes_no_share(folders: list[Path], tmp_path: Path) -> None:
    write_coco(AnnotationSet(COCO17), tmp_path / "empty.json")
    empty = DataSource(str(tmp_path / "empty.json"), str(tmp_path))
    mixture = open_mixture((empty, *data_sources([str(folders[1] / "data.json")])), COCO17)
    assert sources_of(mixture.epoch(None, (0,))) == {"1": 12}


@pytest.mark.parametrize("weights", [(1, 1, 1), (0.2, 0.3, 0.5), (5, 1, 1)])
def test_shares_add_up_and_are_close(weights: tuple[float, ...]) -> None:
    for total in range(30):
        counts = shares(weights, total)
        assert sum(counts) == total
        assert all(abs(n - w / sum(weights) * total) < 1 for n, w in zip(counts, weights, strict=True))


def test_a_weight_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"weight of a\.json"):
        DataSource("a.json", "images", 0.0)


def test_data_sets_are_paired_with_folders_and_weights() -> None:
    assert data_sources(["x/a.json", "b.json"]) == (DataSource("x/a.json", "x"), DataSource("b.json", "."))
    assert data_sources(["a.json", "b.json"], ["one"], [1, 2])[1] == DataSource("b.json", "one", 2)
    with pytest.raises(InvalidConfig, match="3 data sets and 2 folders"):
        data_sources(["a", "b", "c"], ["1", "2"])


def test_some_images_of_a_source_are_the_same_each_time_and_others_with_another_seed(folders: list[Path]) -> None:
    def names(seed: int) -> list[str]:
        (whole,) = data_sources([str(folders[1] / "data.json")])
        mixture = open_mixture([replace(whole, num_images=5, seed=seed)], CROWDPOSE14)
        return [image.file_name for image in mixture.parts[0].images]

    assert len(set(names(0))) == 5 and names(0) == names(0) != names(1)


def test_no_images_at_all_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="0 images of a"):
        DataSource("a", "b", num_images=0)
