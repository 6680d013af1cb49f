"""How persons are drawn, and how the simulated annotator of the training loop behaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DrawConfig:
    """How differently a person is shown from drawing to drawing.

    Attributes:
        max_turn: radians; half of the crops are turned by up to this.
        min_scale: of the frame, against the frame around the person's box.
        max_scale: of the same.
        max_shift: of the frame's centre, in sides.
        found_share: of the persons that the finder finds, the share shown in its box instead, upright.
        epochs: in which one drawing is used before all persons are drawn again.
        seed: random seed of all drawings.
    """

    max_turn: float = 0.35
    min_scale: float = 0.88
    max_scale: float = 1.25
    max_shift: float = 0.07
    found_share: float = 0.4
    epochs: int = 4
    seed: int = 0


@dataclass(frozen=True)
class LoopConfig:
    """The annotator and the starts of the training loop.

    Attributes:
        rounds: how many rounds a batch is played, one of these at random.
        first_clicks: keypoints placed before the first round, one of these at random; 0 trains the silent round.
        later_clicks: the same before each later round.
        worst_share: share of the persons whose worst keypoint is placed; of the others it is any.
        disturbed_share: share of persons that start from the truth, disturbed.
        mirrored_share: share of persons that start from the looker's pose with left and right swapped.
    """

    rounds: tuple[int, ...] = (1, 2, 2, 3)
    first_clicks: tuple[int, ...] = (0, 0, 0, 1, 1, 2)
    later_clicks: tuple[int, ...] = (1, 1, 2)
    worst_share: float = 0.7
    disturbed_share: float = 0.12
    mirrored_share: float = 0.06
