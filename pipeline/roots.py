"""The name of an image: its path below the root that it was found under. All parts use this name.

<pre-labels>/roots.json    the roots that were ever pre-labelled into a folder, in order
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

from clickpose.errors import ClickPoseError
from pipeline.image_files import WILDCARDS, full_name, is_folder
from pipeline.store import Store

ROOTS = "roots.json"


def root_of(source: str | Path | Iterable[str | Path], deepest: str) -> str:
    """Return the folder, path or URI, that all images of a source are below; see ``list_images``.

    That is the folder itself, a pattern's part without wildcards, the folder of a list, and else the deepest folder
    that the images have in common.

    Args:
        source: where the images were searched.
        deepest: their common folder.
    """
    candidate = _folder_meant(full_name(source)) if isinstance(source, str | Path) else ""
    return candidate if candidate and f"{deepest}/".startswith(f"{candidate}/") else deepest


def _folder_meant(name: str) -> str:
    if is_folder(name):
        return _without_query(name).rstrip("/")
    wildcard = WILDCARDS.search(_without_query(name))
    return name[: wildcard.start() if wildcard else len(name)].rpartition("/")[0]


def _without_query(name: str) -> str:
    return name.partition("?")[0] if "://" in name else name


def common_folder(names: Sequence[str]) -> str:
    """Return the deepest folder that all names are below, "" if they have none in common."""
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False)
    return "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def remember_root(store: Store, root: str) -> None:
    """Record a root beside the pre-labels of its images; names below an earlier root stay as they are."""
    store.write_json(ROOTS, read_roots(store, root))


def read_roots(store: Store, root: str) -> list[str]:
    """Return the roots of a folder of pre-labels, with one more that it is about to get."""
    roots = list(store.read_json(ROOTS)) if store.exists(ROOTS) else []
    return roots if root in roots else [*roots, root]


def root_exists(root: str) -> bool:
    """Tell whether a root is still there; one that cannot be reached counts."""
    try:
        return root != "" and is_folder(root)
    except (OSError, ClickPoseError):
        return True


def relative_name(name: str, roots: Sequence[str]) -> str:
    """Return an image's path below the first root that holds it, not percent-encoded; else its name as it is."""
    for root in roots:
        if name.startswith(f"{root}/"):
            below = _without_query(name)[len(root) + 1 :]
            return unquote(below) if "://" in name else below
    return name
