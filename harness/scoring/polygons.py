"""Strict point-in-polygon for ignore regions: even-odd interior, the border is outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.scoring.ragged import Integers, counts_and_starts, first_of_each, pairs_within

__all__ = ["joints_inside", "strictly_inside"]


def strictly_inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(M,) whether each of `points` (M,2) lies in the interior of `polygon` (K,2), closed automatically.

    Even-odd rule, so a self-intersecting polygon works; a point exactly on an edge is not inside (poseval section 3).

    >>> square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    >>> strictly_inside(np.array([[1.0, 1.0], [4.0, 2.0], [5.0, 1.0]]), square).tolist()
    [True, False, False]
    """
    only = np.zeros(1, dtype=np.int64)
    x, y = points[None, :, 0], points[None, :, 1]
    inside: NDArray[np.bool_] = joints_inside(x, y, only, [polygon], only, 1)[0]
    return inside


def joints_inside(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    group: Integers,
    polygons: Sequence[NDArray[np.float64]],
    polygon_group: Integers,
    group_count: int,
) -> NDArray[np.bool_]:
    """(N,J) whether a joint lies strictly inside any polygon of its person's group (frame).

    `x`, `y` (N,J); `group` (N,); `polygon_group` ascending, one per polygon. NaN is nowhere inside. Whole people, then
    joints, are dismissed by bounding boxes first.
    """
    corners = np.concatenate(list(polygons))
    sizes = np.array([len(polygon) for polygon in polygons])
    first = np.cumsum(sizes) - sizes
    low, high = np.minimum.reduceat(corners, first), np.maximum.reduceat(corners, first)
    counts, starts = counts_and_starts(polygon_group, group_count)
    person, polygon = pairs_within(counts[group], starts[group])
    near = np.ones(len(person), dtype=bool)
    for axis, values in enumerate((np.ascontiguousarray(x.T), np.ascontiguousarray(y.T))):
        near &= np.fmax.reduce(values)[person] > low[polygon, axis]
        near &= np.fmin.reduce(values)[person] < high[polygon, axis]
    person, polygon = person[near], polygon[near]
    boxed = (x[person] > low[polygon, :1]) & (x[person] < high[polygon, :1])
    boxed &= (y[person] > low[polygon, 1:]) & (y[person] < high[polygon, 1:])
    pair, joint = np.nonzero(boxed)
    person, polygon = person[pair], polygon[pair]
    hits = _inside_pairs(x[person, joint], y[person, joint], polygon, corners, sizes)
    inside = np.zeros(x.shape, dtype=bool)
    inside[person[hits], joint[hits]] = True
    return inside


def _inside_pairs(
    x: NDArray[np.float64], y: NDArray[np.float64], polygon: Integers, corners: NDArray[np.float64], sizes: Integers
) -> NDArray[np.bool_]:
    """(M,) whether point i lies strictly inside polygon number polygon[i]: one ragged pass over all edges."""
    starts = np.cumsum(sizes) - sizes
    following = np.arange(1, len(corners) + 1)
    following[starts + sizes - 1] = starts
    if not len(x):
        return np.zeros(0, dtype=bool)
    pair, edge = pairs_within(sizes[polygon], starts[polygon])
    (ax, ay), (bx, by) = corners.T[:, edge], corners.T[:, following[edge]]
    px, py = x[pair], y[pair]
    side = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    crosses = ((ay <= py) != (by <= py)) & ((side > 0) == (by > ay))
    first_edge = np.flatnonzero(first_of_each(pair))
    odd: NDArray[np.bool_] = np.logical_xor.reduceat(crosses, first_edge)
    line = np.flatnonzero(side == 0)
    px, py, ax, ay, bx, by = (values[line] for values in (px, py, ax, ay, bx, by))
    between_x = (px >= np.minimum(ax, bx)) & (px <= np.maximum(ax, bx))
    between_y = (py >= np.minimum(ay, by)) & (py <= np.maximum(ay, by))
    odd[pair[line[between_x & between_y]]] = False
    return odd
