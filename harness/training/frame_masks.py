"""Which px of a frame count for nothing in training: its ignore regions, and people who are no targets.

They are what COCO's crowds and people without keypoints are to the releases (whole_frame.md 2.9, 3.4 and 5).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import Polygon
from harness.inference.crops import transform

__all__ = ["counted_px", "outlines"]

#: Binary digits behind the point of the corners that OpenCV fills between.
_DIGITS = 4


def counted_px(regions: tuple[Polygon, ...], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H,W) px of a picture of `size` (width, height) that lie in no region, each (K,2) px of the image.

    `matrix` (2,3) maps image px to the picture's. Edges are in; a region of fewer than three points covers nothing.

    >>> box = np.array([[2.0, 0.0], [3.0, 0.0], [3.0, 1.0], [2.0, 1.0]])
    >>> counted_px((box,), np.eye(2, 3), (4, 2)).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    covered: NDArray[np.uint8] = np.zeros(size[::-1], dtype=np.uint8)
    for region in regions:
        if len(region) > 2:
            corners = transform(region[None], matrix[None])[0] * 2**_DIGITS
            cv2.fillPoly(covered, [np.rint(corners).astype(np.int32)], (1,), shift=_DIGITS)
    counted: NDArray[np.bool_] = covered == 0
    return counted


def outlines(boxes: NDArray[np.float64]) -> tuple[Polygon, ...]:
    """The four corners (4,2) of each of boxes (N,4) xyxy that is known."""
    known = boxes[np.isfinite(boxes).all(axis=1)]
    return tuple(known[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
