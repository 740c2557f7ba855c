"""Where a detector might have put a person's box: RMPE's pose-guided proposals, as released (seed002_rest.md 1.4).

The released model has one Gaussian per side for everybody; another detector's means and deviations make another model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RELEASED", "ProposalModel", "clipped_offsets", "inner_patch", "proposal"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ProposalModel:
    """Offsets of the sides x1, y1, x2, y2 of a box from the true one, as shares of its width or height.

    `means` and `deviations` (4,) of a Gaussian each; `inner` the share of boxes that are a patch within the true one.
    """

    means: tuple[float, ...] = (-0.0142, 0.0043, 0.0154, -0.0013)
    deviations: tuple[float, ...] = (0.1158, 0.068, 0.1337, 0.0711)
    inner: float = 0.15


RELEASED = ProposalModel()


def proposal(
    box: Floats, size: tuple[float, float], random: np.random.Generator, *, model: ProposalModel = RELEASED,
    dose: float = 1.0,
) -> Floats:  # fmt: skip
    """(4,) xyxy px of a box drawn for the person whose true box (4,) is given, in an image of `size` (width, height).

    `dose` multiplies the offsets and the share of inner patches; 0 leaves the box as it is.
    """
    if dose == 0:
        return box.astype(np.float64)
    share = random.random()
    if share > 1 - dose * model.inner:
        # patches are as large as those of the release whatever the dose: its share of the sides is above 0.85
        return inner_patch(box, max(share, 1 - model.inner), random.random(2))
    offsets = dose * random.normal(model.means, model.deviations)
    return clipped_offsets(box, offsets, size)


def inner_patch(box: Floats, share: float, place: Floats) -> Floats:
    """A patch of `share` of the sides within a box, put at `place` (2,) of the room that is left; 1 px is added.

    >>> inner_patch(np.array([0.0, 0.0, 100.0, 50.0]), 0.9, np.array([0.5, 1.0])).tolist()
    [5.0, 5.0, 96.0, 51.0]
    """
    sides = box[2:] - box[:2]
    low = box[:2] + place * (sides - share * sides)
    return np.concatenate([low, low + share * sides + 1])


def clipped_offsets(box: Floats, offsets: Floats, size: tuple[float, float]) -> Floats:
    """The box with its sides moved by `offsets` (4,) of its width and height, kept in the image and 2 px wide.

    At the right and bottom border the image wins over the 2 px, as released.
    """
    sides, last = box[2:] - box[:2], np.array(size) - 3
    low = np.maximum(1, np.minimum(box[:2] + offsets[:2] * sides, last))
    high = np.minimum(np.maximum(low + 2, box[2:] + offsets[2:] * sides), last)
    return np.concatenate([low, high])
