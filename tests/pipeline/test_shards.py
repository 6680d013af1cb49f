import numpy as np
import pyarrow.parquet as pq
import pytest

from clickpose.errors import StoreError
from pipeline.shards import (
    Model,
    Prelabel,
    plan_shards,
    pose_from_dict,
    pose_to_dict,
    read_parts,
    read_prelabels,
    shard_name,
    write_part,
)
from pipeline.store import Store

MODEL = Model("v1", "/models/v1", "abc")


def test_shards_hold_every_picture_once() -> None:
    uris = [f"{i}.jpg" for i in range(10)]
    shards = plan_shards(uris, MODEL, shard_size=4)
    assert [len(shard.uris) for shard in shards] == [4, 4, 2]
    assert [uri for shard in shards for uri in shard.uris] == uris
    assert len({shard.name for shard in shards}) == 3


def test_a_shard_is_named_after_pictures_and_model_alone() -> None:
    name = shard_name(["a", "b"], MODEL)
    assert name == shard_name(["a", "b"], Model("v1", "/elsewhere/v1", "abc"))
    others = [
        shard_name(["a"], MODEL),
        shard_name(["ab"], MODEL),
        shard_name(["a", "b"], Model("v2", "/models/v1", "abc")),
        shard_name(["a", "b"], Model("v1", "/models/v1", "def")),
    ]
    assert len({name, *others}) == 5


def test_a_pose_there_and_back(make_pose) -> None:
    pose = make_pose(seed=3)
    read = pose_from_dict(pose_to_dict(pose))
    np.testing.assert_allclose(read.keypoints_px, pose.keypoints_px, atol=5.1e-4)
    np.testing.assert_allclose(read.scores, pose.scores, atol=5.1e-5)
    np.testing.assert_array_equal(read.visibility, pose.visibility)
    np.testing.assert_array_equal(read.held, pose.held)
    np.testing.assert_array_equal(read.box_px, pose.box_px)
    assert read.score == pose.score
    assert [(a.dtype, a.shape) for a in vars(read).values() if hasattr(a, "dtype")] == [
        (a.dtype, a.shape) for a in vars(pose).values() if hasattr(a, "dtype")
    ]


def test_a_part_there_and_back(tmp_path, make_pose) -> None:
    store = Store(tmp_path)
    written = [Prelabel("a.jpg", (32, 24), (make_pose(), make_pose(seed=1)), "v1"), Prelabel("b.jpg", (8, 6), (), "v1")]
    sha256 = write_part(store, "s0", written, MODEL)
    read = list(read_prelabels(str(tmp_path)))

    assert [(p.uri, p.size_wh, len(p.poses), p.model_version) for p in read] == [
        ("a.jpg", (32, 24), 2, "v1"),
        ("b.jpg", (8, 6), 0, "v1"),
    ]
    part = read_parts(store)[0]
    assert (part.name, part.uris, part.model_digest, part.sha256) == ("s0", ("a.jpg", "b.jpg"), "abc", sha256)


def test_the_same_part_is_the_same_file(tmp_path, make_pose) -> None:
    prelabels = [Prelabel("a.jpg", (32, 24), (make_pose(),), "v1")]
    assert write_part(Store(tmp_path), "s0", prelabels, MODEL) == write_part(Store(tmp_path), "s1", prelabels, MODEL)


def test_a_part_is_plain_parquet(tmp_path, make_pose) -> None:
    write_part(Store(tmp_path), "s0", [Prelabel("a.jpg", (32, 24), (make_pose(),), "v1")], MODEL)
    table = pq.read_table(tmp_path / "part-s0.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "int32", "int32", "string", "string"]


def test_a_broken_part_is_named(tmp_path) -> None:
    (tmp_path / "part-s0.parquet").write_bytes(b"half a fi")
    with pytest.raises(StoreError, match=r"part-s0\.parquet"):
        read_parts(Store(tmp_path))
