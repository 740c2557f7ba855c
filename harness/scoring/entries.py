"""Entries: the scored joints of one joint type, best first, with a weight each: what an average precision is made of.

`ranks` sorts a run once; every slice, bootstrap and comparison then takes entries from it by mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring.average_precision import Curve, area, ranked
from harness.scoring.matched import Matched
from harness.scoring.matching import MatchTable
from harness.scoring.ragged import Integers

__all__ = [
    "Entries",
    "Rank",
    "all_entries",
    "average_precision",
    "counted_by",
    "mean_over_joints",
    "ranks",
    "truth_by_sequence",
]


@dataclass(frozen=True, eq=False)
class Entries:
    """`hit` (n,), `weight` (n,) above 0 (1 but for shared false positives), `sequence` (n,); best score first.

    `truth` (S,) joints to be found in every sequence. `score` (n,) descending.
    """

    hit: NDArray[np.bool_]
    weight: NDArray[np.float64]
    sequence: Integers
    score: NDArray[np.float64]
    truth: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.hit)


@dataclass(frozen=True, eq=False)
class Rank:
    """All predicted joints of one joint type, best score first, in the order poseval's AP takes them.

    `person` (n,) row in `scene.predicted`; `truth` (n,) row in `scene.truth`, -1 for an unmatched person; `labelled`
    (n,) the matched person has the joint.
    """

    joint: int
    person: Integers
    truth: Integers
    labelled: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    sequence: Integers

    def entries(
        self, chosen: NDArray[np.bool_], truth: NDArray[np.float64], weight: NDArray[np.float64] | None = None
    ) -> Entries:
        """The entries where `chosen` (n,) is True, with their weights (n,) of 1 unless given."""
        weights = np.ones(int(chosen.sum())) if weight is None else weight[chosen]
        return Entries(self.hit[chosen], weights, self.sequence[chosen], self.score[chosen], truth)


def ranks(table: MatchTable) -> tuple[Rank, ...]:
    """The ranks of the 15 joints."""
    predicted, scene = table.scene.predicted, table.scene
    found = []
    for joint in range(predicted.present.shape[1]):
        people = np.flatnonzero(predicted.present[:, joint])
        scores, hit = scene.scores[people, joint], table.hit[people, joint]
        order = ranked(scores, hit, np.arange(len(people)), 0).sequence
        person = people[order]
        truth = table.truth_of[person]
        labelled = np.zeros(len(person), dtype=bool)
        labelled[truth >= 0] = scene.truth.present[truth[truth >= 0], joint]
        sequence = table.predicted_sequence[person]
        found.append(Rank(joint, person, truth, labelled, hit[order], scores[order], sequence))
    return tuple(found)


def truth_by_sequence(matched: Matched, cells: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(S,15) number of truth joints where `cells` (G,15) is True, by sequence."""
    people, joints = np.nonzero(cells)
    return counted_by(matched.table.truth_sequence[people], joints, matched.sequence_count, cells.shape[1])


def counted_by(row: Integers, column: Integers, row_count: int, column_count: int) -> NDArray[np.float64]:
    """(row_count, column_count) how often every pair occurs; rows with a negative column are left out.

    >>> counted_by(np.array([0, 1, 1]), np.array([1, -1, 0]), 2, 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    kept = column >= 0
    keys = row[kept] * column_count + column[kept]
    return np.bincount(keys, minlength=row_count * column_count).reshape(row_count, column_count).astype(float)


def all_entries(matched: Matched) -> tuple[Entries, ...]:
    """The entries of poseval's own AP."""
    truth = truth_by_sequence(matched, matched.table.scene.truth.present)
    return tuple(rank.entries(np.ones(len(rank.hit), bool), truth[:, rank.joint]) for rank in ranks(matched.table))


def average_precision(entries: Entries) -> float:
    """AP in percent; 0 without entries, NaN with entries but nothing to find (as poseval). A miss counts its weight.

    With weights of 1 every bit equals poseval's.
    """
    if not len(entries):
        return 0.0
    n_truth = entries.truth.sum()
    if not n_truth:
        return np.nan
    positives = np.cumsum(entries.hit)
    return area(Curve(positives / np.cumsum(entries.weight), positives / n_truth)) * 100


def mean_over_joints(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...,) poseval's total of values (...,15): the mean over the joints that are not NaN, NaN if none is left.

    >>> mean_over_joints(np.array([[50.0, np.nan, 100.0], [np.nan, np.nan, np.nan]])).tolist()
    [75.0, nan]
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean
