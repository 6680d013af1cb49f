"""What the persons of an image look like to a model, in a few numbers: images that look alike have similar ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from clickpose.annotations import Pose
from clickpose.person_frame.frame import Frame
from clickpose.person_frame.person_frame import EncodedPersons


def appearance(encoded: Any, poses: Sequence[Pose]) -> tuple[float, ...]:
    """Return the looker's coarsest features, averaged over all persons' crops; nothing is computed anew.

    Args:
        encoded: an image.
        poses: the persons that the model shows in it.

    Returns:
        A number per channel; none without a person, and none of a model that does not look at persons' crops.
    """
    if not isinstance(encoded, EncodedPersons):
        return ()
    seen = [encoded.seen[frame] for frame in (Frame.around(pose.box_px) for pose in poses) if frame in encoded.seen]
    if not seen:
        return ()
    crops = torch.stack([one.maps.cells[-1][0, :, :-1].float().mean(0) for one in seen])  # (P, C)
    return tuple(crops.mean(0).tolist())
