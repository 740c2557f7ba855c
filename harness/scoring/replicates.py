"""Average precision of many resampled sets of sequences at once, from entries ranked once.

A replicate weighs every sequence by an integer (how often it was drawn). Its AP is that of the pooled entries, each
counted so often. Precision can only peak at the last hit of a run of hits, so one step per run is enough: going from
the last run to the first, a sparse product (counts of the run by sequence, times the weights) takes the run off the
counts of all replicates at once. The time is linear in entries, whatever the number of sequences.
"""

from __future__ import annotations

import os
from collections.abc import Sequence as Series
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from harness.scoring.entries import Entries, counted_by

__all__ = ["bootstrap_draws", "jackknife_draws", "permuted_ap", "replicate_ap", "swap_draws"]

#: Runs and replicates handled at a time: 15 joints of them stay in the processor's cache.
RUNS, REPLICATES = 8, 1024


def bootstrap_draws(cluster_count: int, replicates: int, *, seed: int = 0) -> NDArray[np.int64]:
    """(B,S) how often every sequence is drawn when S are drawn with replacement."""
    picks = np.random.default_rng(seed).integers(0, cluster_count, (replicates, cluster_count))
    rows = np.repeat(np.arange(replicates), cluster_count)
    return counted_by(rows, picks.ravel(), replicates, cluster_count).astype(np.int64)


def jackknife_draws(cluster_count: int) -> NDArray[np.int64]:
    """(S,S) every sequence left out once."""
    return np.ones((cluster_count, cluster_count), dtype=np.int64) - np.eye(cluster_count, dtype=np.int64)


def swap_draws(cluster_count: int, permutations: int, *, seed: int = 0) -> tuple[NDArray[np.int64], bool]:
    """((R,S) which sequences two methods swap, whether these are all there are); the first row swaps none.

    The first sequence is never swapped: swapping the others instead gives the same difference with the other sign.
    """
    if 2 ** (cluster_count - 1) <= permutations:
        numbers = np.arange(2 ** (cluster_count - 1))
        return (numbers[:, None] << 1 >> np.arange(cluster_count)) & 1, True
    swaps = np.random.default_rng(seed).integers(0, 2, (permutations + 1, cluster_count))
    swaps[0], swaps[:, 0] = 0, 0
    return swaps, False


def replicate_ap(joints: Series[Entries], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """(B,J) AP in percent of every joint when sequence s counts `draws[b, s]` times.

    Degenerate joints are those of poseval, replicate by replicate: 0 without entries, NaN with entries but nothing to
    find. Computed in single precision where weights are whole: within 1e-4 percent points of the exact value.
    """
    found = draws @ np.stack([joint.truth for joint in joints], axis=1)
    entries = draws @ np.stack([np.bincount(joint.sequence, minlength=draws.shape[1]) for joint in joints], axis=1)
    blocks = [draws[start : start + REPLICATES] for start in range(0, len(draws), REPLICATES)]
    with ThreadPoolExecutor(min(len(blocks), os.cpu_count() or 1)) as pool:
        areas = list(pool.map(partial(_areas, _runs(joints, draws.shape[1])), blocks))
    area = np.concatenate(areas, axis=1).T
    with np.errstate(all="ignore"):
        ap: NDArray[np.float64] = np.where(found > 0, 100 * area / found, np.nan)
    ap[entries == 0] = 0.0
    return ap


def permuted_ap(first: Series[Entries], second: Series[Entries], swaps: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R,J) AP in percent of the method that is `first` except in the sequences where `swaps` (R,S) is 1.

    Scores of two methods have no common scale, so entries are pooled by their relative rank in their own method (AP
    does not change under any monotone map of a method's scores, nor must the test).
    """
    pooled = [_pooled(*pair, swaps.shape[1]) for pair in zip(first, second, strict=True)]
    return replicate_ap(pooled, np.concatenate([1 - swaps, swaps], axis=1))


def _pooled(first: Entries, second: Entries, cluster_count: int) -> Entries:
    """Both methods' entries by relative rank; the second's sequences are numbered after the first's."""
    place = np.concatenate([(np.arange(len(side)) + 0.5) / max(len(side), 1) for side in (first, second)])
    order = np.argsort(place, kind="stable")
    return Entries(
        hit=np.concatenate([first.hit, second.hit])[order],
        weight=np.concatenate([first.weight, second.weight])[order],
        sequence=np.concatenate([first.sequence, second.sequence + cluster_count])[order],
        score=-place[order],
        truth=np.concatenate([first.truth, second.truth]),
    )


@dataclass(frozen=True, eq=False)
class _Runs:
    """Counts by sequence of every run of hits, as blocks of sparse matrices with `RUNS` x J rows and S columns.

    `hits` and `entries` (weights of the run's hits and of the misses before them) per block; `totals` (2,J,S) their
    sums. Joints with fewer runs end in rows without entries.
    """

    hits: list[csr_array]
    entries: list[csr_array]
    totals: NDArray[np.float64]


def _runs(joints: Series[Entries], cluster_count: int) -> _Runs:
    """Whole weights are counted in single precision, in which they are exact, fractions in double."""
    whole = all((joint.weight == 1).all() for joint in joints)
    rows, columns, hits, weights = (list[NDArray[Any]]() for _ in range(4))
    totals = np.zeros((2, len(joints), cluster_count))
    for number, joint in enumerate(joints):
        ends = np.flatnonzero(joint.hit & ~np.append(joint.hit[1:], False))
        kept = slice(ends[-1] + 1 if len(ends) else 0)
        run = np.searchsorted(ends, np.arange(kept.stop))
        rows.append(run * len(joints) + number)
        columns.append(joint.sequence[kept])
        hits.append(joint.hit[kept] * joint.weight[kept])
        weights.append(joint.weight[kept])
        for side, values in enumerate((hits[-1], weights[-1])):
            totals[side, number] = np.bincount(columns[-1], weights=values, minlength=cluster_count)
    row, column = np.concatenate(rows), np.concatenate(columns)
    size = RUNS * len(joints)
    shape = (-(-(int(row.max(initial=-1)) + 1) // size) * size, cluster_count)
    blocks = []
    for values in (np.concatenate(hits), np.concatenate(weights)):
        kept_entries = values > 0
        counts = values[kept_entries].astype(np.float32 if whole else np.float64)
        matrix = csr_array((counts, (row[kept_entries], column[kept_entries])), shape=shape)
        blocks.append([matrix[start : start + size] for start in range(0, shape[0], size)])
    return _Runs(blocks[0], blocks[1], totals)


def _areas(runs: _Runs, draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """(J,B) sum over hits of the highest precision from there on, from the last run to the first.

    Where nothing was drawn yet precision is nothing / nothing, which `fmax` passes over.
    """
    kind = runs.hits[0].dtype if runs.hits else np.dtype(np.float64)
    weights = np.ascontiguousarray(draws.T, dtype=kind)
    hits, entries = (np.matmul(side.astype(kind), weights) for side in runs.totals)
    best, precision = np.zeros_like(hits), np.empty_like(hits)
    envelope = np.empty((RUNS, *hits.shape), dtype=kind)
    area = np.zeros(hits.shape)
    with np.errstate(invalid="ignore"):
        for found, counted in zip(reversed(runs.hits), reversed(runs.entries), strict=True):
            new_hits, new_entries = ((side @ weights).reshape(envelope.shape) for side in (found, counted))
            for run in reversed(range(RUNS)):
                np.divide(hits, entries, out=precision)
                np.fmax(best, precision, out=best)
                envelope[run] = best
                hits -= new_hits[run]
                entries -= new_entries[run]
            area += np.einsum("rjb,rjb->jb", envelope, new_hits)
    return area
