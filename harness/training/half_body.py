"""Half-body augmentation: a region round the known joints of the upper or of the lower body (dcpose.md 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.inference.crops import centre_and_scale
from harness.skeletons import Skeleton

__all__ = ["half_body_regions"]

#: More joints than this must be known.
_FEW = 8
#: On the extent of the joints, brought to the crop's aspect; takes the place of the factor on boxes.
_ENLARGE = 1.5
_LOWER = ("hip", "knee", "ankle")


def half_body_regions(
    joints: NDArray[np.float64],
    annotated: NDArray[np.bool_],
    skeleton: Skeleton,
    size: tuple[int, int],
    *,
    upper: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Which of (B,J,2) people have more than 8 known joints, and centres and scales (B,2) of half of each.

    `upper` (B,) is the half that was drawn; a half of two joints or fewer gives way to the other.
    """
    below = np.array([name.endswith(_LOWER) for name in skeleton.names])
    halves = annotated & ~below, annotated & below
    enough = [half.sum(axis=1) > 2 for half in halves]
    above = np.where(upper, enough[0] | ~enough[1], ~enough[1])
    seen = np.where(above[:, None], *halves)
    shown = seen[:, :, None]
    low = np.where(shown, joints, np.inf).min(axis=1)
    high = np.where(shown, joints, -np.inf).max(axis=1)
    possible = (annotated.sum(axis=1) > _FEW) & (seen.sum(axis=1) >= 2)
    boxes = np.where(possible[:, None], np.hstack([low, high]), 0.0)
    _, scale = centre_and_scale(boxes, size, enlarge=_ENLARGE, skip_minus_one=False)
    mean = np.where(shown, joints, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)[:, None]
    return possible, mean.astype(np.float32), scale
