"""Arms: runs that differ by chance alone (seeds of one training) taken as one, and the difference of two arms.

Sequences are drawn jointly: one draw serves every run of every arm, so that differences are paired. An arm's AP is the
mean of its runs'. Source: specification of slices, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence as Series
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from harness.scoring.matched import Matched
from harness.scoring.slices.scoring import ALL, SliceCounts, count_slices
from harness.scoring.uncertainty import COLUMNS, FEWEST_SEQUENCES, REPLICATES, clusters, replicates_of
from harness.skeletons import GROUPS, POSETRACK15

__all__ = ["Apart", "Bounded", "Drawn", "apart", "apart_at", "arm_value", "draw", "mean_of"]

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was measured of one run, by column: AP in percent in one bin of a slice by `COLUMNS`, or `ERRORS`.

    `value` (C,) of the data, `draws` (B,C) of the drawn sets of sequences (no rows where there are too few),
    `items` (C,) truth joints, `sequences` that hold any.
    """

    value: NDArray[np.float64]
    draws: NDArray[np.float64]
    items: NDArray[np.int64]
    sequences: int


@dataclass(frozen=True)
class Bounded:
    """A value with its interval (NaN without one), and what it is for every run."""

    value: float
    low: float
    high: float
    runs: tuple[float, ...]


@dataclass(frozen=True)
class Apart:
    """One arm minus another, with the interval and the two-sided `p` of the same draws against `-margin`.

    `p` is twice the share of draws across that line; where none is, the normal tail of the draws' mean and spread, but
    no more than two draws' worth, so that a correction for many comparisons does not end at the number of draws.
    """

    difference: float
    low: float
    high: float
    p: float


def draw(matched: Matched, labels: Iterable[str], *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, Drawn]:
    """A run's AP over `replicates` draws of sequences for bins by label ("all", "speed:fast"); absent where lacking.

    The same `seed` draws the same sequences for every run on the same truth.
    """
    wanted = set(labels)
    names = sorted({label.rpartition(":")[0] or label for label in wanted})
    known, _, _ = count_slices(matched, names)
    units = clusters(matched)
    return {
        counts.label: _drawn(counts, units, replicates=replicates, seed=seed)
        for counts in known
        if counts.label in wanted
    }


def arm_value(runs: Series[Drawn], column: str, *, level: float = LEVEL) -> Bounded:
    """The mean of an arm's runs in one of `COLUMNS`.

    >>> run = Drawn(np.full(23, 50.0), np.linspace(40, 60, 101)[:, None].repeat(23, axis=1), np.ones(23, int), 9)
    >>> arm_value([run], "total")
    Bounded(value=50.0, low=40.5, high=59.5, runs=(50.0,))
    """
    return mean_of(runs, COLUMNS.index(column), level=level)


def mean_of(runs: Series[Drawn], place: int, *, level: float = LEVEL) -> Bounded:
    """The mean of an arm's runs in the column at `place`."""
    values = tuple(float(run.value[place]) for run in runs)
    return Bounded(float(np.mean(values)), *_interval(_mean_draws(runs, place), level), values)


def apart(
    arm: Series[Drawn], baseline: Series[Drawn], column: str, *, margin: float = 0.0, level: float = LEVEL
) -> Apart:
    """The paired difference of two arms' means; `p` tells how well the draws separate it from `-margin`."""
    return apart_at(arm, baseline, COLUMNS.index(column), margin=margin, level=level)


def apart_at(
    arm: Series[Drawn], baseline: Series[Drawn], place: int, *, margin: float = 0.0, level: float = LEVEL
) -> Apart:
    """The same in the column at `place`."""
    difference = mean_of(arm, place).value - mean_of(baseline, place).value
    draws = _mean_draws(arm, place) - _mean_draws(baseline, place)
    known = draws[~np.isnan(draws)]
    if math.isnan(difference) or not len(known):
        return Apart(difference, math.nan, math.nan, math.nan)
    return Apart(difference, *_interval(draws, level), _tail(known, -margin))


def _drawn(counts: SliceCounts, units: NDArray[np.int64], *, replicates: int, seed: int) -> Drawn:
    enough = min(counts.sequences_total, len(units)) >= FEWEST_SEQUENCES
    found = replicates_of(
        counts.entries(), units, replicates=replicates if enough else 1, seed=seed, shown=counts.shown
    )
    groups = [counts.items[[POSETRACK15.index(joint) for joint in joints]].sum() for joints in GROUPS.values()]
    items = np.array([*counts.items, *groups, counts.items.sum()], dtype=np.int64)
    draws = found.draws if enough else found.draws[:0]
    return Drawn(found.value, draws, items, counts.sequences_total if counts.label != ALL else len(units))


def _mean_draws(runs: Series[Drawn], place: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean([run.draws[:, place] for run in runs], axis=0, dtype=np.float64)
    return mean


def _tail(draws: NDArray[np.float64], line: float) -> float:
    beyond = int(min((draws <= line).sum(), (draws >= line).sum()))
    share = (1 + beyond) / (1 + len(draws))
    if not beyond and (spread := draws.std()) > 0:
        share = min(share, float(ndtr(-abs(draws.mean() - line) / spread)))
    return min(1.0, 2 * share)


def _interval(draws: NDArray[np.float64], level: float) -> tuple[float, float]:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
