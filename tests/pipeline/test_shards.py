"""Pre-labels on disk are plain Parquet: what was written is read back, by us and by others."""

import dataclasses
import json

import numpy as np
import pandas
import pyarrow.dataset
import pyarrow.parquet
import pytest

from clickpose.errors import StoreError
from clickpose.skeleton import Skeleton
from pipeline.listing import ListedImage
from pipeline.planning import plan_shards
from pipeline.prelabelled import Failure, Model, Prelabel
from pipeline.shards import (
    delete_prelabels,
    drop_halves,
    drop_rows,
    read_failures,
    read_images,
    read_prelabels,
    read_skeleton,
    shard_name,
    shard_names,
    write_failures,
    write_shard,
)
from pipeline.store import Store

SKELETON = Skeleton.from_dict({"name": "paw", "keypoints": ["left_a", "right_a", "b"], "links": [[0, 2]]})
MODEL = Model("v1", "/models/v1", "abc", SKELETON)


def image(name: str, **more) -> ListedImage:
    return ListedImage(
        f"/photos/{name}", **{"num_bytes": 7, "modified_ns": 1_700_000_000_123_456_789, "name": name} | more
    )


def prelabel(name: str, *poses) -> Prelabel:
    return Prelabel(image(name), (32, 24), poses, "v1")


def free(pose):
    """A pose of which nothing was placed by hand, as all that a model finds."""
    return dataclasses.replace(pose, held=np.zeros(len(pose.held), bool))


def test_what_persons_look_like_is_read_back_and_may_be_missing(tmp_path) -> None:
    looks = (1.0, 2.5, 3.0)
    known = dataclasses.replace(prelabel("a.jpg"), appearance=looks)
    write_shard(Store(tmp_path), "a", [known, prelabel("b.jpg")], MODEL)
    assert [found.appearance for found in read_prelabels(str(tmp_path))] == [looks, ()]
    file = tmp_path / "images" / "part-a.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).drop_columns("appearance"), file)
    assert [found.appearance for found in read_prelabels(str(tmp_path))] == [(), ()]  # as earlier versions wrote it


def test_shards_hold_every_image_once_and_begin_small() -> None:
    images = [image(f"{i}.jpg") for i in range(100)]
    shards = plan_shards(images, MODEL, max_size=16)
    assert [one for shard in shards for one in shard.images] == images
    sizes = [len(shard.images) for shard in shards]
    assert sizes[:9] == [4] * 8 + [8] and max(sizes[:-1]) == 8
    assert len(plan_shards(images, MODEL, max_size=16, num_before=10**6)[0].images) == 16
    assert len({shard.name for shard in shards}) == len(shards)


def test_a_shard_is_named_after_images_and_the_models_content_alone() -> None:
    name = shard_name([image("a"), image("b")], MODEL)
    assert name == shard_name([image("a"), image("b")], Model("v2", "/elsewhere/v2", "abc", SKELETON))
    assert name == shard_name([image(n)._replace(uri=f"/moved/{n}") for n in "ab"], MODEL)
    others = [
        shard_name([image("a")], MODEL),
        shard_name([image("ab")], MODEL),
        shard_name([image("a"), image("b", num_bytes=8)], MODEL),
        shard_name([image("a"), image("b", modified_ns=5)], MODEL),
        shard_name([image("a"), image("b")], Model("v1", "/models/v1", "def", SKELETON)),
    ]
    assert len({name, *others}) == 6


def test_a_shard_there_and_back(tmp_path, make_pose) -> None:
    written = [prelabel("a.jpg", free(make_pose()), free(make_pose(seed=1))), prelabel("b.jpg")]
    write_shard(Store(tmp_path), "s0", written, MODEL)
    read = list(read_prelabels(str(tmp_path)))
    assert [(p.image, p.size_wh, p.model_version) for p in read] == [
        (p.image, p.size_wh, p.model_version) for p in written
    ]
    assert [len(p.poses) for p in read] == [2, 0]
    for one, other in zip(read[0].poses, written[0].poses, strict=True):
        for name, value in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), value, err_msg=name)
            assert getattr(value, "dtype", None) == getattr(getattr(one, name), "dtype", None)
    assert read_skeleton(str(tmp_path)) == SKELETON
    assert list(read_images(Store(tmp_path))) == [("s0", "abc", [p.image for p in written])]


def test_the_same_shard_is_the_same_file(tmp_path, make_pose) -> None:
    for name in ("s0", "s1"):
        write_shard(Store(tmp_path), name, [prelabel("a.jpg", make_pose())], MODEL)
    for folder in ("persons", "images"):
        contents = {file.read_bytes() for file in (tmp_path / folder).iterdir()}
        assert len(contents) == 1


def test_others_read_the_folders_as_they_are(tmp_path, make_pose) -> None:
    store = Store(tmp_path)
    write_shard(store, "s0", [prelabel("a.jpg", make_pose(), make_pose(seed=1)), prelabel("b.jpg")], MODEL)
    write_shard(store, "s1", [prelabel("c.jpg", make_pose(seed=2))], MODEL)
    persons = pandas.read_parquet(tmp_path / "persons")
    assert list(zip(persons["image"], persons["person"], strict=True)) == [("a.jpg", 0), ("a.jpg", 1), ("c.jpg", 0)]
    assert np.stack(persons["keypoints"].iloc[0]).shape == (3, 3)
    assert list(persons["box"].iloc[0]) == [0, 0, 32, 24]
    assert dict(zip(*pandas.read_parquet(tmp_path / "images")[["image", "num_persons"]].values.T, strict=True)) == {
        "a.jpg": 2,
        "b.jpg": 0,
        "c.jpg": 1,
    }
    metadata = pyarrow.dataset.dataset(tmp_path / "persons").schema.metadata
    assert json.loads(metadata[b"keypoints"]) == ["left_a", "right_a", "b"]
    assert Skeleton.from_dict(json.loads(metadata[b"skeleton"])) == SKELETON


def test_rows_can_be_deleted_with_their_persons(tmp_path, make_pose) -> None:
    store = Store(tmp_path)
    write_shard(
        store, "s0", [prelabel("a.jpg", make_pose()), prelabel("b.jpg"), prelabel("c.jpg", make_pose(seed=2))], MODEL
    )
    drop_rows(store, "s0", [False, True, True])
    left = list(read_prelabels(str(tmp_path)))
    assert [p.image.name for p in left] == ["b.jpg", "c.jpg"]
    np.testing.assert_array_equal(left[1].poses[0].keypoints_px, make_pose(seed=2).keypoints_px)
    drop_rows(store, "s0", [False, False])
    assert shard_names(store) == shard_names(store, "persons") == []


def test_half_a_shard_does_not_count_and_is_swept_away(tmp_path, make_pose) -> None:
    store = Store(tmp_path)
    write_shard(store, "s0", [prelabel("a.jpg", make_pose())], MODEL)
    (tmp_path / "images" / "part-s0.parquet").unlink()  # killed before it was written
    assert list(read_prelabels(str(tmp_path))) == []
    drop_halves(store)
    assert list((tmp_path / "persons").iterdir()) == []


def test_an_image_in_two_shards_is_refused(tmp_path, make_pose) -> None:
    for name in ("s0", "s1"):
        write_shard(Store(tmp_path), name, [prelabel("a.jpg", make_pose())], MODEL)
    with pytest.raises(StoreError, match=r"holds a\.jpg twice"):
        list(read_prelabels(str(tmp_path)))


def test_failures_there_and_back(tmp_path) -> None:
    failures = [Failure(image("a.jpg"), "broken"), Failure(ListedImage("/x.jpg"), "missing")]
    write_failures(Store(tmp_path), failures)
    assert read_failures(str(tmp_path)) == failures


def test_a_broken_shard_is_named(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "part-s0.parquet").write_bytes(b"half a fi")
    with pytest.raises(StoreError, match=r"images/part-s0\.parquet"):
        list(read_images(Store(tmp_path)))


def test_what_an_older_version_wrote_is_not_taken_for_nothing(tmp_path) -> None:
    (tmp_path / "part-0.parquet").touch()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(StoreError, match="older version"):
        list(read_prelabels(str(tmp_path)))
    delete_prelabels(Store(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
