"""Boxes: extents of joints, and intersection over union of aligned rows."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = ["extents", "row_iou"]


def extents(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,4) xyxy box round the joints of every person, (N,J) px with NaN for absent ones; NaN for nobody's joints.

    >>> extents(np.array([[1.0, 5.0, np.nan]]), np.array([[2.0, 0.0, np.nan]])).tolist()
    [[1.0, 0.0, 5.0, 2.0]]
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        sides = (np.nanmin(x, axis=1), np.nanmin(y, axis=1), np.nanmax(x, axis=1), np.nanmax(y, axis=1))
    return np.stack(sides, axis=1) if len(x) else np.zeros((0, 4))


def row_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) intersection over union of row i of either side, (N,4) xyxy; 0 for boxes without area or with NaN.

    >>> row_iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]])).tolist()
    [0.3333333333333333]
    """
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = [np.prod(np.clip(box[:, 2:] - box[:, :2], 0, None), axis=1) for box in (first, second)]
    union = areas[0] + areas[1] - shared
    with np.errstate(all="ignore"):
        overlap: NDArray[np.float64] = np.where(union > 0, shared / union, 0.0)
    return overlap
