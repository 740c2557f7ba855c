"""Average precision of many resampled sets of sequences at once, from entries ranked once.

A replicate weighs every sequence by an integer (how often it was drawn). Its AP is that of the pooled entries, each
counted so often. Precision can only peak at the last hit of a run of hits, so one row per run is enough: cumulated
counts by sequence, times the weights, give precision and recall of all replicates in one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence as Series

import numpy as np
from numpy.typing import NDArray

from harness.scoring.entries import Entries, counted_by

__all__ = ["bootstrap_draws", "jackknife_draws", "permuted_ap", "replicate_ap", "swap_draws"]

#: Runs and replicates handled at a time: 15 joints of them stay in the processor's cache.
RUNS, REPLICATES = 16, 512


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
    find. Computed in single precision: within 1e-4 percent points of the exact value.
    """
    table = _run_table(joints, draws.shape[1])
    truth = np.stack([joint.truth for joint in joints], axis=1)
    entries = np.stack([np.bincount(joint.sequence, minlength=draws.shape[1]) for joint in joints], axis=1)
    return _percent(table, draws, draws @ truth, draws @ entries)


def permuted_ap(first: Series[Entries], second: Series[Entries], swaps: NDArray[np.int64]) -> NDArray[np.float64]:
    """(R,J) AP in percent of the method that is `first` except in the sequences where `swaps` (R,S) is 1.

    Scores of two methods have no common scale, so entries are pooled by their relative rank in their own method (AP
    does not change under any monotone map of a method's scores, nor must the test).
    """
    count = swaps.shape[1]
    pooled = [_pooled(*pair, count) for pair in zip(first, second, strict=True)]
    pair = _run_table(pooled, 2 * count)
    table = pair[..., count:].copy()
    table[..., :-1] -= pair[..., :count]
    table[..., -1] += pair[..., :count].sum(axis=-1)
    entries = [
        np.stack([np.bincount(joint.sequence, minlength=count) for joint in side], 1) for side in (first, second)
    ]
    truth = np.stack([joint.truth for joint in first], axis=1).sum(axis=0)
    found = np.broadcast_to(truth, (len(swaps), len(truth)))
    return _percent(table, swaps, found, (1 - swaps) @ entries[0] + swaps @ entries[1])


def _percent(
    table: NDArray[np.float32], draws: NDArray[np.int64], found: NDArray[np.float64], entries: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(B,J) AP from the areas; `found` and `entries` (B,J) joints to be found and joints predicted."""
    weights = draws.astype(np.float32)
    areas = [_areas(table, weights[start : start + REPLICATES]) for start in range(0, len(draws), REPLICATES)]
    area = np.concatenate(areas, axis=1).T.astype(np.float64)
    with np.errstate(all="ignore"):
        ap: NDArray[np.float64] = np.where(found > 0, 100 * area / found, np.nan)
    ap[entries == 0] = 0.0
    return ap


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


def _run_table(joints: Series[Entries], cluster_count: int) -> NDArray[np.float32]:
    """(J,2,R,S+1) hits, and weight of all entries, by sequence up to the end of every run of hits.

    The last column is what counts in every replicate: nothing yet. Joints with fewer runs end in rows of zeros.
    """
    ends = [np.flatnonzero(joint.hit & ~np.append(joint.hit[1:], False)) for joint in joints]
    rows = max((len(places) for places in ends), default=0)
    table = np.zeros((len(joints), 2, rows, cluster_count + 1), dtype=np.float32)
    for number, (joint, places) in enumerate(zip(joints, ends, strict=True)):
        if not len(places):
            continue
        kept = slice(places[-1] + 1)
        run = np.searchsorted(places, np.arange(places[-1] + 1))
        keys, shape = run * cluster_count + joint.sequence[kept], (len(places), cluster_count)
        for side, weights in enumerate((joint.hit[kept] * joint.weight[kept], joint.weight[kept])):
            counts = np.bincount(keys, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
            table[number, side, : len(places), :-1] = np.cumsum(counts, axis=0)
    return table


def _areas(table: NDArray[np.float32], draws: NDArray[np.float32]) -> NDArray[np.float32]:
    """(J,B) sum over hits of the highest precision from there on, from the last run to the first.

    Summed by parts: (hits so far) times the drop of the envelope behind them. Where nothing was drawn yet precision is
    nothing / nothing, which `fmax` passes over.
    """
    joint_count, _, row_count, width = table.shape
    weights = np.ones((width, len(draws)), dtype=np.float32)
    weights[:-1] = draws.T
    hits, precision, drop = (np.empty((joint_count, RUNS, len(draws)), dtype=np.float32) for _ in range(3))
    envelope: NDArray[np.float32] = np.zeros((joint_count, len(draws)), dtype=np.float32)
    area = np.zeros_like(envelope)
    for stop in range(row_count, 0, -RUNS):
        start = max(stop - RUNS, 0)
        size = stop - start
        found = np.matmul(table[:, 0, start:stop], weights, out=hits[:, :size])
        best = np.matmul(table[:, 1, start:stop], weights, out=precision[:, :size])
        with np.errstate(invalid="ignore"):
            np.divide(found, best, out=best)
        np.fmax(best[:, -1], envelope, out=best[:, -1])
        for row in range(size - 2, -1, -1):
            np.fmax(best[:, row], best[:, row + 1], out=best[:, row])
        np.subtract(best[:, :-1], best[:, 1:], out=drop[:, : size - 1])
        np.subtract(best[:, -1], envelope, out=drop[:, size - 1])
        area += np.einsum("jrb,jrb->jb", drop[:, :size], found)
        envelope = best[:, 0].copy()
    return area
