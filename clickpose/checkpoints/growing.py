"""A model for other keypoints: shared ones keep their weights, a new one starts as its relative (section 4.7).

Three weights depend on the keypoints, with one row per keypoint: content and size of their tokens, and their label in
the loop. All others, which find persons and look at the image, work for any skeleton.

Persons are found as before, and a shared keypoint starts from the same weights at the same place. Where it ends
differs, as the keypoints of a person attend to each other and there are now others; training corrects that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clickpose.checkpoints.model_folder import Network, build_network, config_of, load_weights
from clickpose.errors import InvalidSkeleton
from clickpose.skeleton import Skeleton

RANDOM = "random values"


def grow(network: Network, old: Skeleton, new: Skeleton) -> Network:
    """Return a model of the ``new`` skeleton that begins as the ``network`` of the ``old`` one.

    A keypoint takes the weights of the old one of the same name. A new one takes those of its parent in
    ``new.parents``, which may be any keypoint of either skeleton; without one it starts at random, always the same, as
    far from all old ones as these are from each other.

    Raises:
        InvalidSkeleton: ``new.parents`` names an unknown keypoint, or leads in a circle.
    """
    sources = [_source(name, old, new) for name in new.keypoints]
    weights = dict(network.state_dict())
    content = weights["decoder.keypoint_content.weight"].unflatten(0, (-1, len(old)))  # (slots, K, D)
    weights["decoder.keypoint_content.weight"] = _take(content, sources).flatten(0, 1)
    weights["decoder.keypoint_size.weight"] = _take(weights["decoder.keypoint_size.weight"], sources)
    none, labels = weights["keypoint_label.weight"].split([1, len(old)])  # keypoint k is row k + 1
    weights["keypoint_label.weight"] = torch.cat((none, _take(labels, sources)))

    grown = build_network({**config_of(network).to_dict(), "num_keypoints": len(new)})
    load_weights(grown, weights, f"{old.name} grown to {new.name}")
    return grown.train(network.training)


def origins(old: Skeleton, new: Skeleton) -> dict[str, str]:
    """Return what each new keypoint starts from: the name of an old one, or ``random values``; see ``grow``."""
    added = [name for name in new.keypoints if name not in old.keypoints]
    sources = {name: _source(name, old, new) for name in added}
    return {name: RANDOM if source is None else old.keypoints[source] for name, source in sources.items()}


def _source(name: str, old: Skeleton, new: Skeleton) -> int | None:
    """Index of the old keypoint that a new one starts from; None for a random start."""
    if unknown := sorted(set(new.parents) - set(new.keypoints)):
        raise InvalidSkeleton(f"skeleton {new.name!r} names a parent of {unknown[0]!r}, which it does not have")
    ancestors = [name]
    while ancestors[-1] not in old.keypoints:
        parent = new.parents.get(ancestors[-1])
        if parent is None:
            return None
        if parent in ancestors:
            raise InvalidSkeleton(
                f"skeleton {new.name!r}: parents lead in a circle: {' - '.join([*ancestors, parent])}"
            )
        if parent not in (*old.keypoints, *new.keypoints):
            raise InvalidSkeleton(
                f"skeleton {new.name!r}: {ancestors[-1]!r} starts from {parent!r}, which is a keypoint neither of it"
                f" nor of {old.name!r}"
            )
        ancestors.append(parent)
    return old.keypoints.index(ancestors[-1])


def _take(rows: Tensor, sources: Sequence[int | None]) -> Tensor:
    """Rows by number, ``(..., K, D)`` to ``(..., number of sources, D)``; None is a random one, as spread as others."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(*rows.shape[:-2], len(sources), rows.shape[-1], generator=generator).to(rows)
    random = rows.mean(-2, keepdim=True) + rows.std(-2, keepdim=True) * noise
    taken = [random[..., i, :] if source is None else rows[..., source, :] for i, source in enumerate(sources)]
    return torch.stack(taken, -2)
