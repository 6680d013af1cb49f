"""A snapshot of annotations is its content: the same ones are the same snapshot, and a changed file is refused."""

import dataclasses
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import StoreError
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from integrations.coco import read_coco
from integrations.label_studio.provenance import KeypointRecord
from pipeline.snapshot import (
    current_snapshot,
    is_held_back,
    load_snapshot,
    read_manifest,
    split,
    take_snapshot,
)
from pipeline.store import Store

PEOPLE = DrawnPeople(Skeleton.load("crowdpose14"), num_images=4, size_wh=(64, 48)).annotations


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def make_record(**changes) -> KeypointRecord:
    record = KeypointRecord(1, 10, 100, "neck", "moved", 2, "ann@example.org", "v1", 12.5, "2026-01-01T00:00:00Z")
    return dataclasses.replace(record, **changes)


def flat(annotations: AnnotationSet) -> list:
    return [
        (image.id, image.file_name, image.size_wh, p.id, p.keypoints_px.tolist(), p.visibility.tolist(), p.is_crowd)
        for image in annotations.images
        for p in image.persons
    ]


def test_a_snapshot_there_and_back(store) -> None:
    records = (make_record(), make_record(keypoint="left_wrist", source="accepted"))
    taken = take_snapshot(store, PEOPLE, records)
    read = load_snapshot(store, taken.id)
    assert flat(read.annotations) == flat(PEOPLE)
    assert read.annotations.skeleton == PEOPLE.skeleton
    assert set(read.provenance) == set(records)
    assert current_snapshot(store) == taken.id


def test_its_files_can_be_read_without_us(store, tmp_path) -> None:
    taken = take_snapshot(store, PEOPLE, [make_record()])
    folder = tmp_path / "annotations" / taken.id
    assert len(read_coco(folder / "annotations.json")) == 4
    assert pq.read_table(folder / "provenance.parquet").to_pylist() == [dataclasses.asdict(make_record())]


def test_the_same_annotations_are_the_same_snapshot_in_any_order(store, tmp_path) -> None:
    records = [make_record(keypoint=name) for name in PEOPLE.skeleton.keypoints]
    first = take_snapshot(store, PEOPLE, records)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    shuffled = [
        dataclasses.replace(image, persons=image.persons[::-1]) for image in random.Random(0).sample(PEOPLE.images, 4)
    ]
    again = take_snapshot(store, dataclasses.replace(PEOPLE, images=tuple(shuffled)), records[::-1])

    assert again.id == first.id
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_one_moved_keypoint_is_another_snapshot(store) -> None:
    first = take_snapshot(store, PEOPLE)
    image = PEOPLE.images[0]
    keypoints_px = image.persons[0].keypoints_px.copy()
    keypoints_px[np.flatnonzero(image.persons[0].visibility)[0]] += 1
    person = dataclasses.replace(image.persons[0], keypoints_px=keypoints_px)
    moved = dataclasses.replace(image, persons=(person, *image.persons[1:]))
    second = take_snapshot(store, dataclasses.replace(PEOPLE, images=(moved, *PEOPLE.images[1:])))
    assert second.id != first.id
    assert (first.parent, second.parent) == (None, first.id)
    assert current_snapshot(store) == second.id


def test_who_did_it_belongs_to_the_snapshot(store) -> None:
    accepted = take_snapshot(store, PEOPLE, [make_record(source="accepted")])
    assert take_snapshot(store, PEOPLE, [make_record(source="moved")]).id != accepted.id


def test_the_manifest_counts(store) -> None:
    records = [
        make_record(),
        make_record(keypoint="head", source="accepted"),
        make_record(annotation_id=11, user="bob"),
    ]
    manifest = read_manifest(store, take_snapshot(store, PEOPLE, records).id)
    assert manifest["images"] == manifest["images_to_train"] + manifest["images_held_back"] == 4
    assert manifest["persons"] == PEOPLE.num_persons
    assert manifest["keypoints_by_source"] == {"accepted": 1, "moved": 2}
    assert manifest["annotators"] == ["ann@example.org", "bob"]
    assert manifest["lead_time_s"] == 25.0  # once for each annotation, not for each keypoint


def test_an_interrupted_snapshot_does_not_count_and_is_completed(store, tmp_path) -> None:
    taken = take_snapshot(store, PEOPLE)
    (tmp_path / "annotations" / taken.id / "manifest.json").unlink()
    with pytest.raises(StoreError, match=taken.id):
        load_snapshot(store, taken.id)
    assert take_snapshot(store, PEOPLE).id == taken.id
    assert load_snapshot(store, taken.id).id == taken.id


def test_a_snapshot_that_was_tampered_with_is_refused(store, tmp_path) -> None:
    taken = take_snapshot(store, PEOPLE)
    file = tmp_path / "annotations" / taken.id / "annotations.json"
    file.write_text(file.read_text().replace("drawn", "Drawn"))
    with pytest.raises(StoreError, match=r"annotations\.json"):
        load_snapshot(store, taken.id)


def test_an_empty_data_set_is_a_snapshot_too(store) -> None:
    taken = take_snapshot(store, AnnotationSet(PEOPLE.skeleton))
    assert len(load_snapshot(store, taken.id).annotations) == 0


def many(count: int) -> AnnotationSet:
    return AnnotationSet(PEOPLE.skeleton, tuple(AnnotatedImage(i, f"{i:05d}.jpg", (8, 6)) for i in range(count)))


def test_the_split_has_about_the_share_asked_for() -> None:
    train, held_back = split(many(2000), 0.2)
    assert len(train) + len(held_back) == 2000
    assert 0.17 < len(held_back) / 2000 < 0.23
    assert [len(part) for part in split(many(50), 0.0)] == [50, 0]
    assert [len(part) for part in split(many(50), 1.0)] == [0, 50]


def test_an_image_never_changes_sides() -> None:
    held_back = {image.file_name for image in split(many(100))[1].images}
    grown = {image.file_name for image in split(many(300))[1].images}
    assert grown & {f"{i:05d}.jpg" for i in range(100)} == held_back
    assert is_held_back("00000.jpg") == is_held_back("00000.jpg")
