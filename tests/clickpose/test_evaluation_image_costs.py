"""What a model costs on each image by itself adds up to what it costs on all of them."""

import numpy as np
import pytest

from clickpose.annotations import AnnotationSet
from clickpose.evaluation import clicks_per_person
from clickpose.evaluation.image_costs import ImageCost, ImageMeter
from clickpose.evaluation.predictors import PosePredictor, RecordedResults
from clickpose.evaluation.visits import visit_images
from clickpose.synthetic import DrawnPeople
from tests.clickpose.evaluation_fakes import COCO17, Confused, Listener, by_hand, make_pose, record


@pytest.fixture(scope="module")
def people() -> AnnotationSet:
    return DrawnPeople(COCO17, num_images=4, seed=3).annotations


def costs_of(predictor: PosePredictor, people: AnnotationSet) -> list[ImageCost]:
    meter = ImageMeter(predictor, 0.9)
    visit_images(predictor, people, record, [meter])
    return meter.costs


@pytest.mark.parametrize("num_wrong", [0, 3])
def test_images_add_up_to_the_whole(people: AnnotationSet, num_wrong: int) -> None:
    predictor = Confused(people, by_hand(people, num_wrong))
    costs, whole = costs_of(predictor, people), clicks_per_person(predictor, people, record)
    assert [cost.file_name for cost in costs] == [image.file_name for image in people.images]
    assert sum(cost.num_persons for cost in costs) == whole.num_persons == people.num_persons
    assert sum(cost.clicks for cost in costs) == pytest.approx(whole.mean_clicks * whole.num_persons)
    assert sum(cost.num_spurious for cost in costs) == whole.num_spurious


def test_accuracy_is_that_of_the_first_pass(people: AnnotationSet) -> None:
    for cost, image in zip(costs_of(Listener(people, by_hand(people, 3)), people), people.images, strict=True):
        visible = np.array([person.visibility > 0 for person in image.persons])
        wrong = visible & (visible.cumsum(1) <= 3)
        assert cost.labelled.tolist() == visible.sum(0).tolist()
        assert cost.accurate.tolist() == (visible & ~wrong).sum(0).tolist()


def test_without_found_persons_nothing_is_accurate(people: AnnotationSet) -> None:
    cost = costs_of(RecordedResults(COCO17, {}), people)[0]
    assert (cost.accurate.sum(), cost.ap) == (0, 0.0)
    assert cost.clicks > 2 * cost.num_persons


def test_an_image_without_persons_has_no_ap(people: AnnotationSet) -> None:
    image = people.images[0]
    empty = AnnotationSet(COCO17, (type(image)(image.id, image.file_name, image.size_wh),))
    (cost,) = costs_of(RecordedResults(COCO17, {image.id: [make_pose(image.persons[0])]}), empty)
    assert (cost.num_persons, cost.clicks, cost.num_spurious, cost.ap) == (0, 0, 1, None)
