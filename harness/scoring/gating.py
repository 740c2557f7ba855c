"""All pairs of a predicted and a true joint near enough to be each other, as one ragged list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring.matching import GATE, distances, pair_blocks
from harness.scoring.ragged import Integers
from harness.scoring.scene import Scene

__all__ = ["JOINTS", "Gated", "gated_pairs", "uncontested"]

JOINTS = 15


@dataclass(frozen=True)
class Gated:
    """All pairs of a predicted and a true joint of one type within the gate, by frame, then prediction, then truth.

    Narrow integers, since there are a hundred thousand of them in a validation set.
    """

    predicted: NDArray[np.int32]
    truth: NDArray[np.int32]
    joint: NDArray[np.int32]
    distance: NDArray[np.float64]

    def only(self, kept: NDArray[np.bool_] | Integers) -> Gated:
        """The chosen pairs."""
        return Gated(self.predicted[kept], self.truth[kept], self.joint[kept], self.distance[kept])


def gated_pairs(scene: Scene, *, gate: float = GATE) -> Gated:
    """Every pair of joints at most `gate` head sizes apart (inclusive)."""
    parts = []
    for left, right in pair_blocks(scene):
        apart = distances(scene, left, right)
        pair, joint = np.nonzero(apart <= gate)
        places = (left[pair].astype(np.int32), right[pair].astype(np.int32), joint.astype(np.int32))
        parts.append(Gated(*places, apart[pair, joint]))
    if not parts:
        nothing = np.zeros(0, dtype=np.int32)
        return Gated(nothing, nothing, nothing, np.zeros(0))
    return Gated(
        predicted=np.concatenate([part.predicted for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        joint=np.concatenate([part.joint for part in parts]),
        distance=np.concatenate([part.distance for part in parts]),
    )


def uncontested(gated: Gated) -> NDArray[np.bool_]:
    """(n,) whether neither joint of a pair has another partner, so that any sensible assignment takes the pair."""
    truth, predicted = gated.truth * JOINTS + gated.joint, gated.predicted * JOINTS + gated.joint
    alone: NDArray[np.bool_] = np.bincount(truth)[truth] == 1
    alone &= np.bincount(predicted)[predicted] == 1
    return alone
