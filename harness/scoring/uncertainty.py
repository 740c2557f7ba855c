"""Intervals by the cluster bootstrap over sequences: frames of one video are dependent, so the video is the unit.

Source: specification of slices, section 7. AP is recomputed from the pooled entries of every draw; it is not a mean
over sequences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from harness.errors import UsageError
from harness.scoring.entries import Entries, all_entries, mean_over_joints
from harness.scoring.matched import Matched
from harness.scoring.replicates import bootstrap_draws, jackknife_draws, replicate_ap
from harness.scoring.scores import TOTAL, Score, Scores
from harness.scoring.slices import GreyImages, count_slices
from harness.scoring.slices.scoring import ALL, MIN_ITEMS, MIN_SEQUENCES, PROTOCOL
from harness.skeletons import GROUPS, POSETRACK15

__all__ = [
    "COLUMNS",
    "FEWEST_SEQUENCES",
    "IntervalKind",
    "Replicates",
    "clusters",
    "columns_of",
    "intervals",
    "replicates_of",
    "with_intervals",
]

IntervalKind = Literal["percentile", "bca"]

#: Replicates of an interval.
REPLICATES = 2000

#: With fewer sequences there is no interval.
FEWEST_SEQUENCES = 8

#: What is resampled of a set of 15 joints: the joints, the seven groups, the total.
COLUMNS = (*POSETRACK15.names, *GROUPS, TOTAL)


@dataclass(frozen=True, eq=False)
class Replicates:
    """AP in percent of the drawn sets of sequences, `draws` (B,C), and with every sequence left out, `left_out` (S,C).

    `value` (C,) is that of the data; the columns are `COLUMNS`.
    """

    value: NDArray[np.float64]
    draws: NDArray[np.float64]
    left_out: NDArray[np.float64]


def clusters(matched: Matched) -> NDArray[np.int64]:
    """The numbers of the sequences that have evaluated frames: the units that are drawn."""
    return np.unique(matched.table.scene.frame_sequence)


def columns_of(ap: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,15) joints -> (B,23) `COLUMNS`: a group is NaN if one of its joints is, the total leaves those out."""
    groups = [ap[:, [POSETRACK15.index(joint) for joint in joints]].mean(axis=1) for joints in GROUPS.values()]
    return np.column_stack([ap, *groups, mean_over_joints(ap)])


def replicates_of(
    entries: tuple[Entries, ...],
    sequences: NDArray[np.int64],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    shown: NDArray[np.bool_] | None = None,
) -> Replicates:
    """Resample the `sequences` (numbers) of 15 joints' entries; joints that are not `shown` (15,) stay NaN.

    The share of a slice in poses near nobody is that of the data, not drawn anew.
    """
    parts = []
    for draws in (
        np.ones((1, len(sequences)), dtype=np.int64),
        bootstrap_draws(len(sequences), replicates, seed=seed),
        jackknife_draws(len(sequences)),
    ):
        weights = np.zeros((len(draws), len(entries[0].truth)), dtype=np.int64)
        weights[:, sequences] = draws
        ap = replicate_ap(entries, weights)
        if shown is not None:
            ap[:, ~shown] = np.nan
        parts.append(columns_of(ap))
    return Replicates(parts[0][0], parts[1], parts[2])


def intervals(
    resampled: Replicates, *, kind: IntervalKind = "percentile", level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(low, high), each (C,): the percentile interval, or BCa with the jackknife over sequences.

    NaN where the value is, and for BCa where the replicates do not vary.
    """
    find = {"percentile": _percentile, "bca": _bca}.get(kind)
    if find is None:
        raise UsageError(f"unknown kind of interval '{kind}'; choose percentile or bca")
    pairs = [
        (math.nan, math.nan)
        if math.isnan(value)
        else find(value, draws[~np.isnan(draws)], left_out[~np.isnan(left_out)], level)
        for value, draws, left_out in zip(resampled.value, resampled.draws.T, resampled.left_out.T, strict=True)
    ]
    low, high = np.array(pairs).T
    return low, high


def with_intervals(
    scores: Scores,
    matched: Matched,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    kind: IntervalKind = "percentile",
    level: float = 0.95,
    images: GreyImages | None = None,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
) -> Scores:
    """The scores with `low` and `high` of every poseval AP row of "all" and of slices: an interval over sequences.

    `matched` is the run that was scored. Rows of single sequences are left as they are, and so is everything resting
    on fewer than `FEWEST_SEQUENCES` sequences (a warning says so); facts["intervals"] tells kind, level, replicates,
    seed and sequences. The bounds over tie orders that `score` may put there are replaced. `images`, `min_items` and
    `min_sequences` must be those the slices were scored with.
    """
    wanted = scores.select(protocol=PROTOCOL, metric="ap").entries
    labels = {entry.slice for entry in wanted if not entry.slice.startswith("sequence:")}
    names = {label.rpartition(":")[0] or label for label in labels}
    known, _, _ = count_slices(matched, sorted(names), images=images, min_items=min_items, min_sequences=min_sequences)
    units = clusters(matched)
    bounds: dict[tuple[str, str], tuple[float, float]] = {}
    few = []
    for counts in known:
        if counts.label not in labels:
            continue
        if min(counts.sequences_total, len(units)) < FEWEST_SEQUENCES:
            few.append(counts.label)
            continue
        resampled = replicates_of(counts.entries(), units, replicates=replicates, seed=seed, shown=counts.shown)
        low, high = intervals(resampled, kind=kind, level=level)
        pairs = zip(low.tolist(), high.tolist(), strict=True)
        bounds |= {(counts.label, name): pair for name, pair in zip(COLUMNS, pairs, strict=True)}
    return _filled(scores, bounds, few, {"kind": kind, "level": level, "replicates": replicates, "seed": seed,
                                         "sequences": len(units)})  # fmt: skip


def group_intervals(
    matched: Matched, *, replicates: int = REPLICATES, seed: int = 0, kind: IntervalKind = "percentile"
) -> dict[str, tuple[float, float]]:
    """The intervals of the eight columns of the published tables, percent: Head ... Ankle, Total; NaN for too few."""
    units = clusters(matched)
    names = (*GROUPS, "Total")
    if len(units) < FEWEST_SEQUENCES:
        return dict.fromkeys(names, (math.nan, math.nan))
    low, high = intervals(replicates_of(all_entries(matched), units, replicates=replicates, seed=seed), kind=kind)
    return dict(zip(names, zip(low[15:].tolist(), high[15:].tolist(), strict=True), strict=True))


def _filled(
    scores: Scores, bounds: Mapping[tuple[str, str], tuple[float, float]], few: list[str], facts: dict[str, object]
) -> Scores:
    def filled(entry: Score) -> Score:
        if entry.protocol != PROTOCOL or entry.metric != "ap" or entry.slice.startswith("sequence:"):
            return entry
        low, high = bounds.get((entry.slice, entry.joint), (math.nan, math.nan))
        return replace(entry, low=low, high=high)

    warnings = scores.warnings
    if few:
        text = (
            f"no interval for {len(few)} of the slices ({few[0]} among them): fewer than {FEWEST_SEQUENCES} sequences"
        )
        warnings += (text if few != [ALL] else f"no intervals: fewer than {FEWEST_SEQUENCES} sequences",)
    return Scores(tuple(filled(entry) for entry in scores.entries), warnings, {**scores.facts, "intervals": facts})


def _percentile(
    value: float, draws: NDArray[np.float64], left_out: NDArray[np.float64], level: float
) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _bca(value: float, draws: NDArray[np.float64], left_out: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated (Efron 1987): ties count half in the bias, as scipy does."""
    bias = ndtri(((draws < value).sum() + (draws <= value).sum()) / (2 * len(draws)))
    apart = left_out.mean() - left_out
    spread = (apart**2).sum() ** 1.5
    if spread == 0 or not np.isfinite(bias):
        return math.nan, math.nan
    acceleration = (apart**3).sum() / (6 * spread)
    tails = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(draws, ndtr(bias + tails / (1 - acceleration * tails)))
    return float(low), float(high)
