"""Which scored joints count in a bin of a slice, by the rules for false positives.

Source: specification of slices, section 2. Matching is that of the whole truth. In a bin count: predicted joints of
matched people whose truth is in it; unmatched poses by the truth with the largest box IoU, with none near, by the bin's
share of the truth. Everything else is dropped, neither right nor wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring.entries import Entries, Rank, counted_by
from harness.scoring.matched import Matched
from harness.scoring.overlaps import row_iou
from harness.scoring.ragged import Integers, counts_and_starts, first_of_each, pairs_within
from harness.scoring.slices.bins import UNKNOWN, Assigned

__all__ = ["NEAR_IOU", "BinCounts", "Unmatched", "bin_counts", "nearest_truth"]

#: An unmatched pose belongs to the truth person its box overlaps most, from this box IoU on.
NEAR_IOU = 0.1

#: The bin of an unmatched pose near nobody: it counts in every bin by the bin's share.
_SHARED = -2

#: How unmatched poses are counted: by the rule, all of them (lowest AP), none of them (highest AP).
Unmatched = str
UNMATCHED_RULES: tuple[Unmatched, ...] = ("assigned", "all", "none")


@dataclass(frozen=True, eq=False)
class BinCounts:
    """Bins of every scored joint of one joint type for one slice.

    `bins` (n,) along the rank; `share` (K,) of the joint's truth in every bin; `truth` (S,K) joints to be found. With
    `by_frame` an unmatched pose belongs to the bin of its frame, so that counting "all" adds nothing.
    """

    rank: Rank
    bins: NDArray[np.int64]
    share: NDArray[np.float64]
    truth: NDArray[np.float64]
    by_frame: bool = False

    def entries(self, number: int, unmatched: Unmatched = "assigned") -> Entries:
        """The entries of one bin; `unmatched` one of `UNMATCHED_RULES`."""
        matched, inside = self.rank.truth >= 0, self.bins == number
        truth = self.truth[:, number]
        if unmatched == "all" and not self.by_frame:
            return self.rank.entries(~matched | inside, truth)
        if unmatched == "none":
            return self.rank.entries(matched & inside, truth)
        shared = self.bins == _SHARED
        weight = np.where(shared, self.share[number], 1.0)
        return self.rank.entries((inside | shared) & (weight > 0), truth, weight)


def bin_counts(matched: Matched, assigned: Assigned, rank: Rank, near: Integers) -> BinCounts:
    """Count one joint type for one slice; `near` (P,) is `nearest_truth(matched)`."""
    scene, joint = matched.table.scene, rank.joint
    cells = np.where(scene.truth.present[:, joint], assigned.cells[:, joint], UNKNOWN)
    truth = counted_by(matched.table.truth_sequence, cells, matched.sequence_count, len(assigned.bins))
    share = truth.sum(axis=0) / max(1, scene.truth.present[:, joint].sum())
    return BinCounts(rank, _bins(matched, assigned, rank, near), share, truth, assigned.frames is not None)


def nearest_truth(matched: Matched) -> Integers:
    """(P,) truth person an unmatched pose belongs to by box IoU, the first of equals; -1 for none, and for matched."""
    scene = matched.table.scene
    counts, starts = counts_and_starts(scene.truth.frame, scene.frame_count)
    people = np.flatnonzero(matched.table.truth_of < 0)
    left, right = pairs_within(counts[scene.predicted.frame[people]], starts[scene.predicted.frame[people]])
    overlap = row_iou(matched.predicted_boxes[people[left]], matched.truth_boxes[right])
    close = np.flatnonzero(overlap >= NEAR_IOU)
    order = close[np.lexsort((right[close], -overlap[close], left[close]))]
    best = order[first_of_each(left[order])]
    near = np.full(len(scene.predicted), -1, dtype=np.int64)
    near[people[left[best]]] = right[best]
    return near


def _bins(matched: Matched, assigned: Assigned, rank: Rank, near: Integers) -> NDArray[np.int64]:
    """(n,) bin of every scored joint, `UNKNOWN` to drop it, `_SHARED` for a pose near nobody.

    In slices of joints an unlabelled truth joint is in no bin, so that what is predicted for it drops out.
    """
    scene = matched.table.scene
    if assigned.frames is not None:
        frames: NDArray[np.int64] = assigned.frames[scene.predicted.frame[rank.person]]
        return frames
    owner = np.where(rank.truth >= 0, rank.truth, near[rank.person])
    bins: NDArray[np.int64] = np.where(owner >= 0, assigned.cells[owner, rank.joint], _SHARED)
    return bins
