"""How much of an image has to be corrected, before a person has looked at it."""

from __future__ import annotations

from collections.abc import Sequence

from clickpose.annotations import ABSENT, Pose


def expected_clicks(shown: Sequence[Pose], missed: Sequence[float] = ()) -> float:
    """Sum the chances that something has to be corrected.

    Args:
        shown: the persons shown; a keypoint's score is the chance that it lies within tolerance, 1 once it is placed.
        missed: for each possible person who is not shown, the chance that there is one: a click adds each.

    Returns:
        Clicks for the whole image: one per keypoint expected outside tolerance, and one per person expected missing.
    """
    wrong = sum(float((1 - pose.scores)[pose.visibility != ABSENT].sum()) for pose in shown)
    return wrong + float(sum(missed))


def share_right(shown: Sequence[Pose], clicks: float) -> float:
    """Return the share of shown keypoints that need no click.

    Args:
        shown: the persons shown.
        clicks: expected clicks for the whole image; those that add persons count, too.

    Returns:
        In [0, 1]. Without a person shown it is 1 minus the expected number of missed persons.
    """
    num_keypoints = sum(int((pose.visibility != ABSENT).sum()) for pose in shown)
    return max(0.0, 1.0 - clicks / max(num_keypoints, 1))
