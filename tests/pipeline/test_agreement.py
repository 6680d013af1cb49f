"""Several annotators on one image: the one who agrees best with the others is believed, and disagreements are named."""

from dataclasses import replace

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from integrations.label_studio.export import TaskAnnotation
from integrations.label_studio.policy import Policy, candidates
from integrations.label_studio.provenance import KeypointRecord
from pipeline.agreement import agree, agreement

SKELETON = Skeleton.load("coco17")
IMAGE = DrawnPeople(SKELETON, num_images=2, seed=3).annotations.images[1]


def moved(image: AnnotatedImage, by_px: float) -> AnnotatedImage:
    persons = (replace(p, keypoints_px=p.keypoints_px + np.float32(by_px)) for p in image.persons)
    return replace(image, persons=tuple(persons))


def submitted(number: int, image: AnnotatedImage, user: str) -> TaskAnnotation:
    record = KeypointRecord(image.id, number, 1, "nose", "moved", 2, user, "v1", 1.0, "2026")
    return TaskAnnotation(image, "address", number, "2026", (record,), ())


def test_an_annotation_agrees_with_itself_and_less_the_farther_it_is_moved() -> None:
    values = [agreement(IMAGE, moved(IMAGE, by_px), SKELETON) for by_px in (0, 1, 3, 30)]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True)
    assert values[3] < 0.2


def test_a_person_that_one_lacks_counts_nothing() -> None:
    fewer = replace(IMAGE, persons=IMAGE.persons[1:])
    assert agreement(IMAGE, fewer, SKELETON) == pytest.approx(len(fewer.persons) / len(IMAGE.persons))
    assert agreement(fewer, IMAGE, SKELETON) == agreement(IMAGE, fewer, SKELETON)
    nobody = replace(IMAGE, persons=())
    assert (agreement(nobody, nobody, SKELETON), agreement(IMAGE, nobody, SKELETON)) == (1.0, 0.0)


def test_the_one_in_the_middle_is_chosen() -> None:
    three = [submitted(n, moved(IMAGE, by_px), "a") for n, by_px in ((1, -1.0), (2, 0.0), (3, 1.0))]
    chosen, disagreements = agree(three, SKELETON)
    assert ([one.annotation_id for one in chosen], disagreements) == ([2], [])


def test_annotators_who_disagree_are_named_and_the_task_is_left_out() -> None:
    one, other = submitted(11, IMAGE, "ann"), submitted(12, moved(IMAGE, 30), "bob")
    alone = submitted(13, replace(IMAGE, id=99), "cy")
    chosen, (sentence,) = agree([one, other, alone], SKELETON)
    assert chosen == [alone]
    assert sentence.startswith(f"task {IMAGE.id}: annotations 11 (ann) and 12 (bob) agree by")


def test_each_policy_offers_what_it_allows() -> None:
    first, marked, cancelled = {"id": 1}, {"id": 2, "ground_truth": True}, {"id": 3, "was_cancelled": True}
    tasks = [{"id": 7, "annotations": [first, marked, cancelled]}]

    def offered(policy: Policy) -> list[list[int]]:
        return [[one["id"] for one in task["annotations"]] for task in candidates(tasks, policy)]

    assert offered(Policy.latest) == [[1, 2, 3]]
    assert offered(Policy.ground_truth) == [[2]]
    assert offered(Policy.agreement) == [[1], [2]]
