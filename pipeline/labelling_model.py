"""The model that labels: what it is called, and what it is known by."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from clickpose.checkpoints.files import COMPUTES_WITH
from clickpose.errors import InvalidModel, InvalidSkeleton
from clickpose.skeleton import Skeleton
from pipeline.prelabelled import Model
from pipeline.store import local_folder


def describe_model(folder: str | Path) -> Model:
    """Describe the model in a folder or URI: it is called by the last part, and known by its content.

    Raises:
        InvalidModel: there is no skeleton in it.
        StoreError: there is no such folder.
    """
    uri = str(folder) if "://" in str(folder) else os.path.abspath(folder)
    local = local_folder(uri)
    if not (local / "skeleton.json").is_file():
        raise InvalidModel(f"{folder} is not a model folder: it has no skeleton.json")
    try:
        skeleton = Skeleton.load(local / "skeleton.json")
    except InvalidSkeleton as error:
        raise InvalidModel(f"{folder} is not a model folder: {error}") from error
    version = PurePosixPath(urlsplit(uri).path if "://" in uri else uri).name
    return Model(version, uri, model_digest(local), skeleton)


def model_digest(folder: Path) -> str:
    """Hash the files that a model computes with, and not its card or its name."""
    files = [folder / name for name in COMPUTES_WITH if (folder / name).is_file()]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
