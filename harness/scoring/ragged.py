"""Index arithmetic for arrays grouped by frame: every pair within a frame, without a loop over frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "counts_and_starts", "first_of_each", "pairs_within", "sums_by_group"]

Integers = NDArray[np.int64]


def counts_and_starts(group: Integers, group_count: int) -> tuple[Integers, Integers]:
    """How many rows each group has and where it starts; `group` (N,) ascending in 0..group_count-1.

    >>> counts_and_starts(np.array([0, 0, 2]), 3)
    (array([2, 0, 1]), array([0, 2, 2]))
    """
    counts = np.bincount(group, minlength=group_count)
    return counts, np.cumsum(counts) - counts


def pairs_within(counts: Integers, starts: Integers) -> tuple[Integers, Integers]:
    """(left, right) of all pairs where row i of the left side meets rows starts[i] .. starts[i] + counts[i] - 1.

    >>> [side.tolist() for side in pairs_within(np.array([2, 0, 1]), np.array([5, 7, 7]))]
    [[0, 0, 2], [5, 6, 7]]
    """
    left = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, np.repeat(starts, counts) + within


def first_of_each(sorted_keys: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) True where a run of equal keys begins.

    >>> first_of_each(np.array([4, 4, 7])).tolist()
    [True, False, True]
    """
    first = np.ones(len(sorted_keys), dtype=bool)
    first[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return first


def blocks(sizes: Integers, limit: int) -> Iterator[tuple[int, int]]:
    """Ranges [start, stop) of consecutive groups with at most `limit` rows each (one group alone may have more).

    >>> list(blocks(np.array([3, 3, 9, 1]), 6))
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = np.cumsum(sizes)
    start, done = 0, 0
    while start < len(sizes):
        stop = max(start + 1, int(np.searchsorted(ends, done + limit, side="right")))
        yield start, stop
        start, done = stop, int(ends[stop - 1])


def sums_by_group(group: Integers, values: NDArray[Any], group_count: int) -> NDArray[np.float64]:
    """(group_count, J) sums of the rows of `values` (N,J), numbers or bool, that belong to each group.

    >>> sums_by_group(np.array([1, 0, 1]), np.array([[1, 2], [3, 4], [5, 6]]), 2).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    width = values.shape[1]
    cell = (group * width)[:, None] + np.arange(width)
    sums = np.bincount(cell.ravel(), weights=values.ravel(), minlength=group_count * width)
    return sums.astype(np.float64, copy=False).reshape(group_count, width)
