"""One bin of a slice in two runs: paired bootstrap, permutation of whole sequences, McNemar, sequences still needed.

Source: specification of slices, section 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

from harness.scoring.differences import Difference
from harness.scoring.entries import Entries, average_precision
from harness.scoring.matched import Matched
from harness.scoring.replicates import permuted_ap
from harness.scoring.slices import Assigned
from harness.scoring.slices.scoring import SliceCounts
from harness.scoring.uncertainty import (
    COLUMNS,
    FEWEST_SEQUENCES,
    IntervalKind,
    Replicates,
    columns_of,
    intervals,
    replicates_of,
)
from harness.skeletons import GROUPS, POSETRACK15

__all__ = ["PairedBin", "sequences_needed"]

#: A difference this small is equal: single precision of the replicates (percent points).
_EQUAL = 1e-4

_POWER = 0.8


@dataclass(frozen=True, eq=False)
class PairedBin:
    """One bin of a slice in both runs."""

    a: Matched
    b: Matched
    assigned: Assigned
    number: int
    counts: tuple[SliceCounts, SliceCounts]
    units: NDArray[np.int64]

    def rows(
        self,
        *,
        replicates: int,
        seed: int,
        kind: IntervalKind,
        level: float,
        swaps: NDArray[np.int64],
    ) -> list[Difference]:
        """23 rows, not yet corrected for their number nor judged."""
        entries = [counts.entries() for counts in self.counts]
        shown = self.counts[0].shown
        values = [_columns(side, shown) for side in entries]
        difference = values[1] - values[0]
        low = high = error = p = np.full(len(COLUMNS), np.nan)
        hits, per_sequence = self._hits()
        p_hits = _sign_flips(per_sequence, swaps)
        if self._sequences() >= FEWEST_SEQUENCES:
            runs = [replicates_of(side, self.units, replicates=replicates, seed=seed, shown=shown) for side in entries]
            apart = Replicates(*(_minus(runs, part) for part in ("value", "draws", "left_out")))
            low, high = intervals(apart, kind=kind, level=level)
            error = _spread(apart.draws)
            p = _permutation_p(entries[0], entries[1], self.units, swaps, shown)
        straddles = self._straddles(difference, shown)
        sequences, items = self._columns_of_counts()
        return [
            Difference(
                slice=self.counts[0].label, kind="joint" if column < len(POSETRACK15) else "group", name=name,
                a=float(values[0][column]), b=float(values[1][column]), difference=float(difference[column]),
                low=float(low[column]), high=float(high[column]), p=float(p[column]), p_holm=math.nan,
                n_truth=int(items[column]), sequences=int(sequences[column]),
                more_for_interval=sequences_needed(difference[column], error[column], len(self.units), level, 0.5),
                more_for_power=sequences_needed(difference[column], error[column], len(self.units), level, _POWER),
                only_a=int(hits[0, column]), only_b=int(hits[1, column]), p_mcnemar=_mcnemar(*hits[:, column]),
                p_hits=float(p_hits[column]), verdict="not shown",
                reason="unmatched poses decide the sign" if straddles[column] else "",
            )
            for column, name in enumerate(COLUMNS)
        ]  # fmt: skip

    def _sequences(self) -> int:
        return min(self.counts[0].sequences_total, len(self.units))

    def _columns_of_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = self.counts[0]
        items, most = _summed(counts.items.astype(np.float64)), counts.sequences
        groups = [max(most[POSETRACK15.index(joint)] for joint in joints) for joints in GROUPS.values()]
        return np.array([*most, *groups, counts.sequences_total]), items.astype(np.int64)

    def _hits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """((2,C) joints found by a alone and by b alone, (S,C) hits of b minus hits of a by sequence)."""
        cells = self.a.table.scene.truth.present & (self.assigned.cells == self.number)
        first, second = (_truth_hits(run) & cells for run in (self.a, self.b))
        alone = np.stack([(first & ~second).sum(axis=0), (second & ~first).sum(axis=0)]).astype(np.float64)
        by_sequence = np.zeros((self.a.sequence_count, cells.shape[1]))
        np.add.at(by_sequence, self.a.table.truth_sequence, second.astype(float) - first)
        return _summed(alone), _summed(by_sequence[self.units])

    def _straddles(self, difference: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(C,) whether the sign depends on how unmatched poses are counted; never for "all" and frames."""
        if self.assigned.frames is not None:
            return np.zeros(len(COLUMNS), dtype=bool)
        found = [
            np.subtract(*(_columns(counts.entries(rule), shown) for counts in reversed(self.counts)))
            for rule in ("all", "none")
        ]
        signs = np.sign([difference, *found])
        straddles: NDArray[np.bool_] = (signs.min(axis=0) < 0) & (signs.max(axis=0) > 0)
        return straddles


def _columns(entries: tuple[Entries, ...], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    ap = np.array([average_precision(joint) for joint in entries])
    values: NDArray[np.float64] = columns_of(np.where(shown, ap, np.nan)[None])[0]
    return values


def _summed(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 15) counts -> (..., C): groups and total are sums."""
    groups = [joints[..., [POSETRACK15.index(joint) for joint in names]].sum(axis=-1) for names in GROUPS.values()]
    summed: NDArray[np.float64] = np.concatenate([joints, np.stack([*groups, joints.sum(axis=-1)], axis=-1)], axis=-1)
    return summed


def _minus(runs: list[Replicates], part: str) -> NDArray[np.float64]:
    difference: NDArray[np.float64] = getattr(runs[1], part) - getattr(runs[0], part)
    return difference


def _spread(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    known = [column[~np.isnan(column)] for column in draws.T]
    return np.array([column.std(ddof=1) if len(column) > 1 else np.nan for column in known])


def _truth_hits(run: Matched) -> NDArray[np.bool_]:
    """(G,15) truth joints that were found."""
    found = run.table.predicted_of >= 0
    hits = np.zeros(run.table.scene.truth.present.shape, dtype=bool)
    hits[found] = run.table.hit[run.table.predicted_of[found]]
    return hits


def _permutation_p(
    first: tuple[Entries, ...],
    second: tuple[Entries, ...],
    units: NDArray[np.int64],
    swaps: NDArray[np.int64],
    shown: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(C,) two-sided p of the difference when whole sequences are swapped between the runs."""
    full = np.zeros((len(swaps), len(first[0].truth)), dtype=np.int64)
    full[:, units] = swaps
    sides = [permuted_ap(first, second, swapped) for swapped in (full, 1 - full)]
    for side in sides:
        side[:, ~shown] = np.nan
    return _share_as_large(np.subtract(*(columns_of(side) for side in reversed(sides))))


def _sign_flips(by_sequence: NDArray[np.float64], swaps: NDArray[np.int64]) -> NDArray[np.float64]:
    return _share_as_large((1 - 2 * swaps) @ by_sequence)


def _share_as_large(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) share of rows at least as far from 0 as the first, which is the data's; with random rows it counts too."""
    with np.errstate(invalid="ignore"):
        large = np.abs(differences) >= np.abs(differences[0]) - _EQUAL
    return np.where(np.isnan(differences[0]), np.nan, large.mean(axis=0))


def _mcnemar(only_a: float, only_b: float) -> float:
    """Exact two-sided binomial p of the discordant joints."""
    both = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), int(both), 0.5))) if both else 1.0


def sequences_needed(difference: float, error: float, count: int, level: float, power: float) -> int | None:
    """How many more sequences would make the difference `ndtri(...)` standard errors large; 0 if it is already."""
    if math.isnan(difference) or math.isnan(error) or difference == 0:
        return None
    wanted = float(ndtri((1 + level) / 2) + ndtri(power)) * error / abs(difference)
    return max(0, math.ceil(count * wanted**2) - count)
