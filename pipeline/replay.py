"""The data that a champion was trained on, replayed so that a fine-tuned model does not forget it.

It comes from three places: the snapshots of the rounds that led to the champion, a sample of training data in a model
folder (``replay/annotations.json``, its images beside it), and COCO files that the user names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from clickpose.annotations import AnnotatedImage, AnnotationSet, convert_set
from integrations.store import MODELS
from pipeline.dataset import read_annotations
from pipeline.mixture import DataSource
from pipeline.registry import Registry
from pipeline.round_report import RoundReport, reports_by_challenger
from pipeline.snapshot import load_snapshot
from pipeline.store import Store

logger = logging.getLogger(__name__)

SAMPLE = "replay/annotations.json"  # in a model folder


def remember(store: Store, champion: str, annotations: AnnotationSet, images: str) -> AnnotationSet:
    """Add annotations of earlier rounds that the champion was trained or compared on, if ``annotations`` lacks them.

    Args:
        store: holds reports and snapshots.
        champion: the version that is challenged.
        annotations: all current ones; they take precedence over earlier ones.
        images: the folder of their images; earlier rounds whose images lie elsewhere are left out, with a warning.

    Returns:
        The annotations, with further images behind them; these have new ids.
    """
    known = {image.file_name for image in annotations.images}
    further: list[AnnotatedImage] = []
    for report in _rounds_before(store, champion):
        if report.images not in ("", images):
            logger.warning("round %s trained on images of %r: name its data with --replay", report.round, report.images)
            continue
        earlier = convert_set(load_snapshot(store, report.snapshot).annotations, annotations.skeleton)
        further += [image for image in earlier.images if image.file_name not in known]
        known |= {image.file_name for image in further}
    return replace(annotations, images=(*annotations.images, *_with_new_ids(further, annotations)))


def sample_sources(store: Store, champion: str) -> list[DataSource]:
    """Return the sample of training data in the folder of the champion, or of its nearest ancestor that has one."""
    registry, version = Registry(store), champion
    while not store.exists(f"{MODELS}/{version}/{SAMPLE}"):
        parent = registry.show(version).parent
        if parent is None:
            return []
        version = parent
    sample = store.uri_of(f"{MODELS}/{version}/{SAMPLE}")
    return [DataSource(sample, sample.rpartition("/")[0])]


def weigh(new: DataSource, replayed: list[DataSource], share: float) -> tuple[DataSource, ...]:
    """Give the replayed sources ``share`` in (0, 1) of every epoch, each by its number of images."""
    sizes = [len(read_annotations(source.annotations, skip_bad=True)) for source in replayed]
    if not sum(sizes):
        if replayed:
            logger.info("nothing is replayed: there are no images in %s", ", ".join(s.annotations for s in replayed))
        return (new,)
    sized = [
        replace(source, weight=share * size / sum(sizes)) for source, size in zip(replayed, sizes, strict=True) if size
    ]
    return (replace(new, weight=1 - share), *sized)


def _rounds_before(store: Store, champion: str) -> Iterator[RoundReport]:
    """Yield the reports of the rounds that led to a version, latest first."""
    reports = reports_by_challenger(store)
    report = reports.get(champion)
    while report is not None:
        yield report
        report = reports.get(report.parent)


def _with_new_ids(images: list[AnnotatedImage], known: AnnotationSet) -> Iterator[AnnotatedImage]:
    image_id = max((image.id for image in known.images), default=0)
    person_id = max((person.id for image in known.images for person in image.persons), default=0)
    for image in images:
        image_id += 1
        persons = tuple(replace(p, id=person_id + number) for number, p in enumerate(image.persons, start=1))
        person_id += len(persons)
        yield replace(image, id=image_id, persons=persons)
