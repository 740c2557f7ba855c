"""Comparing two runs on the same truth: is the difference real, per joint, group and slice.

Source: specification of slices, section 7. Both runs are drawn and swapped by whole sequences; AP is recomputed from
pooled entries every time. `a` is the reference, `b` the candidate, differences are b - a in percent points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence as Series
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

from harness.datasets.sequences import DataSet, Sequence
from harness.errors import DataError
from harness.predictions import Predictions
from harness.scoring.entries import Entries, average_precision
from harness.scoring.matched import Matched, match_run
from harness.scoring.replicates import permuted_ap, swap_draws
from harness.scoring.slices import Assigned, GreyImages, assign_all
from harness.scoring.slices.scoring import ALL, MIN_ITEMS, MIN_SEQUENCES, SliceCounts, count_assigned, whole
from harness.scoring.uncertainty import (
    COLUMNS,
    FEWEST_SEQUENCES,
    REPLICATES,
    IntervalKind,
    Replicates,
    clusters,
    columns_of,
    intervals,
    replicates_of,
)
from harness.skeletons import GROUPS, POSETRACK15

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison", "Difference", "compare", "compare_matched", "holm"]

#: Random swaps of the permutation test; all of them where there are fewer.
PERMUTATIONS = 10_000

#: A difference this small is equal: single precision of the replicates (percent points).
_EQUAL = 1e-4

_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Difference:
    """One row: what separates run b from run a in one joint, group or total of one slice.

    `kind` is "joint" or "group" (the total among these), the two tables within which Holm corrects; `a`, `b` AP in
    percent; `low`, `high` the paired bootstrap interval of `difference`; `p` the paired permutation of sequences,
    `p_holm` corrected. `more_for_interval` and `more_for_power`: how many more sequences like these would put 0 outside
    the interval, or give 80 % power, were the difference as it is; None where that cannot be told. `only_a`, `only_b`
    joints found by one run alone with McNemar's exact p (descriptive: it takes joints as independent) and `p_hits`, the
    same difference tested by whole sequences. `verdict` "better", "worse" or "not shown", with its `reason`.
    """

    slice: str
    kind: str
    name: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    n_truth: int
    sequences: int
    more_for_interval: int | None
    more_for_power: int | None
    only_a: int
    only_b: int
    p_mcnemar: float
    p_hits: float
    verdict: str
    reason: str

    @property
    def sentence(self) -> str:
        """The row in words."""
        if math.isnan(self.low):
            return f"{self.name}, {self.slice}: {self.verdict} ({self.reason})"
        return (
            f"{self.name}, {self.slice}: {self.verdict}, {self.difference:+.2f} points "
            f"[{self.low:+.2f}, {self.high:+.2f}], p = {self.p_holm:.3g} after Holm ({self.reason})"
        )


@dataclass(frozen=True)
class Comparison:
    """The tidy table of a comparison; `facts` say how it was made."""

    rows: tuple[Difference, ...]
    warnings: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def select(self, *, slice: str | None = None, kind: str | None = None, name: str | None = None) -> Comparison:
        """The rows with the given values."""
        wanted = {"slice": slice, "kind": kind, "name": name}
        given = {key: value for key, value in wanted.items() if value is not None}
        kept = tuple(row for row in self.rows if all(getattr(row, key) == value for key, value in given.items()))
        return replace(self, rows=kept)

    def row(self, name: str = "total", *, slice: str = ALL) -> Difference:
        """The one row of a joint, group or "total"."""
        return self.select(slice=slice, name=name).rows[0]

    def to_rows(self) -> list[dict[str, Any]]:
        """Rows for JSON and CSV, NaN as None."""
        plain = (asdict(row) for row in self.rows)
        return [{key: None if value != value else value for key, value in row.items()} for row in plain]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame."""
        import pandas

        return pandas.DataFrame([asdict(row) for row in self.rows])


def compare(
    data: DataSet | Series[Sequence],
    predictions_a: Predictions,
    predictions_b: Predictions,
    *,
    slices: Iterable[str] = (ALL,),
    compat: str = "official",
    images: GreyImages | None = None,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    kind: IntervalKind = "percentile",
    level: float = 0.95,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
) -> Comparison:
    """Compare two sets of predictions for the same data, per joint, group and slice.

    Raises DataError where one of them lacks a sequence, UsageError for an unknown slice.
    """
    a, b = (match_run(data, predictions, compat=compat) for predictions in (predictions_a, predictions_b))
    return compare_matched(
        a, b, slices=slices, images=images, replicates=replicates, permutations=permutations, seed=seed, kind=kind,
        level=level, min_items=min_items, min_sequences=min_sequences,
    )  # fmt: skip


def compare_matched(
    a: Matched,
    b: Matched,
    *,
    slices: Iterable[str] = (ALL,),
    images: GreyImages | None = None,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    kind: IntervalKind = "percentile",
    level: float = 0.95,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
) -> Comparison:
    """Compare two matched runs; raises DataError unless they were matched to the same truth."""
    check_same_truth(a, b)
    wanted = list(dict.fromkeys(slices))
    found, lacking = assign_all([name for name in wanted if name != ALL], a, images)
    by_name = {part.name: part for part in found} | {ALL: whole(a)}
    parts = [by_name[name] for name in wanted if name in by_name]
    sides = [count_assigned(run, parts, min_items=min_items, min_sequences=min_sequences) for run in (a, b)]
    units = clusters(a)
    swaps, exact = swap_draws(len(units), permutations, seed=seed)
    rows: list[Difference] = []
    for assigned, number, counts in _bins(parts, *sides):
        test = _Test(a, b, assigned, number, counts, units)
        rows += test.rows(replicates=replicates, seed=seed, kind=kind, level=level, swaps=swaps, exact=exact)
    facts = {
        "sequences": len(units), "replicates": replicates, "permutations": len(swaps) - (not exact),
        "all_permutations": exact, "seed": seed, "interval": kind, "level": level, "not_available": lacking,
    }  # fmt: skip
    warnings = tuple(f"slice '{name}' is not available: it needs {needs}" for name, needs in lacking.items())
    return Comparison(_judged(rows, level), warnings, facts)


def check_same_truth(a: Matched, b: Matched) -> None:
    """Raise DataError naming the first thing in which two runs' truths differ."""
    names = [run.table.scene.sequence_names for run in (a, b)]
    if names[0] != names[1]:
        odd = sorted(set(names[0]) ^ set(names[1])) or ["their order"]
        raise DataError(
            f"the two runs are of different sequences ({len(names[0])} and {len(names[1])}; {odd[0]} differs); "
            "compare runs on the same data set and split"
        )
    first, second = a.table.scene, b.table.scene
    for label, left, right in (
        ("frames", first.frame_position, second.frame_position),
        ("people", first.truth.frame, second.truth.frame),
        ("joints", first.truth.x, second.truth.x),
        ("joints", first.truth.y, second.truth.y),
        ("head sizes", first.head, second.head),
    ):
        if left.shape != right.shape or not np.array_equal(left, right, equal_nan=left.dtype.kind == "f"):
            raise DataError(
                f"the two runs were scored against different truths: the {label} differ; score both against the same "
                "label files and with the same --compat"
            )


def holm(p: Series[float]) -> list[float]:
    """Holm's step-down correction; NaN stays NaN and does not count.

    >>> holm([0.01, 0.04, math.nan, 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    adjusted, running = list(p), 0.0
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    for rank, (value, place) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * value))
        adjusted[place] = running
    return adjusted


def _bins(
    parts: list[Assigned], first: list[SliceCounts], second: list[SliceCounts]
) -> Iterable[tuple[Assigned, int, tuple[SliceCounts, SliceCounts]]]:
    flat = [(part, number) for part in parts for number in range(len(part.bins))]
    for (part, number), *counts in zip(flat, first, second, strict=True):
        yield part, number, (counts[0], counts[1])


@dataclass(frozen=True, eq=False)
class _Test:
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
        exact: bool,
    ) -> list[Difference]:
        """23 rows, not yet corrected for their number nor judged."""
        entries = [counts.entries() for counts in self.counts]
        shown = self.counts[0].shown
        values = [_columns(side, shown) for side in entries]
        difference = values[1] - values[0]
        low = high = error = p = np.full(len(COLUMNS), np.nan)
        hits, per_sequence = self._hits()
        p_hits = _sign_flips(per_sequence, swaps, exact)
        if self._sequences() >= FEWEST_SEQUENCES:
            runs = [replicates_of(side, self.units, replicates=replicates, seed=seed, shown=shown) for side in entries]
            apart = Replicates(*(_minus(runs, part) for part in ("value", "draws", "left_out")))
            low, high = intervals(apart, kind=kind, level=level)
            error = _spread(apart.draws)
            p = _permutation_p(entries[0], entries[1], self.units, swaps, exact, shown)
        straddles = self._straddles(difference, shown)
        sequences, items = self._columns_of_counts()
        return [
            Difference(
                slice=self.counts[0].label, kind="joint" if column < len(POSETRACK15) else "group", name=name,
                a=float(values[0][column]), b=float(values[1][column]), difference=float(difference[column]),
                low=float(low[column]), high=float(high[column]), p=float(p[column]), p_holm=math.nan,
                n_truth=int(items[column]), sequences=int(sequences[column]),
                more_for_interval=_more(difference[column], error[column], len(self.units), level, 0.5),
                more_for_power=_more(difference[column], error[column], len(self.units), level, _POWER),
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
    exact: bool,
    shown: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(C,) two-sided p of the difference when whole sequences are swapped between the runs."""
    full = np.zeros((len(swaps), len(first[0].truth)), dtype=np.int64)
    full[:, units] = swaps
    sides = [permuted_ap(first, second, swapped) for swapped in (full, 1 - full)]
    for side in sides:
        side[:, ~shown] = np.nan
    return _share_as_large(np.subtract(*(columns_of(side) for side in reversed(sides))), exact)


def _sign_flips(by_sequence: NDArray[np.float64], swaps: NDArray[np.int64], exact: bool) -> NDArray[np.float64]:
    return _share_as_large((1 - 2 * swaps) @ by_sequence, exact)


def _share_as_large(differences: NDArray[np.float64], exact: bool) -> NDArray[np.float64]:
    """(C,) share of rows at least as far from 0 as the first, which is the data's; with random rows it counts too."""
    with np.errstate(invalid="ignore"):
        large = np.abs(differences) >= np.abs(differences[0]) - _EQUAL
    return np.where(np.isnan(differences[0]), np.nan, large.mean(axis=0))


def _mcnemar(only_a: float, only_b: float) -> float:
    """Exact two-sided binomial p of the discordant joints."""
    both = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), int(both), 0.5))) if both else 1.0


def _more(difference: float, error: float, count: int, level: float, power: float) -> int | None:
    """How many more sequences would make the difference `ndtri(...)` standard errors large; 0 if it is already."""
    if math.isnan(difference) or math.isnan(error) or difference == 0:
        return None
    wanted = float(ndtri((1 + level) / 2) + ndtri(power)) * error / abs(difference)
    return max(0, math.ceil(count * wanted**2) - count)


def _judged(rows: list[Difference], level: float) -> tuple[Difference, ...]:
    """Correct the p of either table and say what it all means."""
    corrected: dict[int, float] = {}
    for kind in ("joint", "group"):
        places = [place for place, row in enumerate(rows) if row.kind == kind]
        corrected |= dict(zip(places, holm([rows[place].p for place in places]), strict=True))
    return tuple(_verdict(replace(row, p_holm=corrected[place]), level) for place, row in enumerate(rows))


def _verdict(row: Difference, level: float) -> Difference:
    clear = row.low > 0 or row.high < 0
    if math.isnan(row.difference):
        return replace(row, reason="too few joints or sequences for an AP")
    if math.isnan(row.low):
        return replace(row, reason=f"fewer than {FEWEST_SEQUENCES} sequences")
    if row.reason:
        return row
    if not clear:
        more = "" if row.more_for_interval is None else f"; about {row.more_for_interval} more sequences would"
        return replace(row, reason="the interval does not exclude 0" + more)
    if row.p_holm > 1 - level + 1e-12:
        return replace(row, reason="not significant after Holm's correction")
    return replace(row, verdict="better" if row.difference > 0 else "worse", reason="interval and permutation agree")
