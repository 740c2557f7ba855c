"""Where the camera alone would move the joints of a frame: from background features, else from the median joint.

Source: specification of slices, section 4, M4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.scoring.ragged import Integers
from harness.scoring.slices.footage import Footage

__all__ = ["expected_positions"]

#: Without images the median joint stands for the camera, where it is the median of this many people.
FEWEST_PEOPLE = 3

#: Background features that must agree on a homography.
FEWEST_FEATURES = 12

#: People's boxes are widened by this share of their size before the background is taken.
MARGIN = 0.1


def expected_positions(footage: Footage, other: Integers, rows: Integers) -> NDArray[np.float64]:
    """(n,15,2) px where the joints of `other` would be in the frames of `rows` had only the camera moved.

    All pairs span the same step in time. With images: a RANSAC homography of background features. Without, or where
    too few features agree: shifted by the median displacement of all tracked joints, NaN for fewer than 3 people.
    """
    expected = np.full((len(rows), *footage.joints.shape[1:]), np.nan)
    frames = footage.frame[rows]
    for frame in np.unique(frames):
        pairs = np.flatnonzero(frames == frame)
        joints = footage.joints[other[pairs]]
        homography = _homography(footage, int(footage.frame[other[pairs[0]]]), int(frame))
        if homography is not None:
            expected[pairs] = _projected(homography, joints)
        elif len(pairs) >= FEWEST_PEOPLE:
            moved = (footage.joints[rows[pairs]] - joints).reshape(-1, 2)
            known = moved[~np.isnan(moved).any(axis=1)]
            expected[pairs] = joints + (np.median(known, axis=0) if len(known) else np.nan)
    return expected


def _homography(footage: Footage, first: int, second: int) -> NDArray[np.float64] | None:
    """3x3 from frame position `first` to `second`; None without images or without enough agreement."""
    if footage.images is None:
        return None
    import cv2

    before, after = (footage.images(footage.sequence, position) for position in (first, second))
    corners = cv2.goodFeaturesToTrack(before, 400, 0.01, 7, mask=_background(footage, first, before.shape))
    if corners is None or len(corners) < FEWEST_FEATURES:
        return None
    empty = np.zeros_like(corners)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, empty)
    kept = found.ravel() == 1
    if kept.sum() < FEWEST_FEATURES:
        return None
    cv2.setRNGSeed(0)
    homography, inliers = cv2.findHomography(corners[kept], moved[kept], cv2.RANSAC, 2.0)
    if homography is None or inliers.sum() < FEWEST_FEATURES:
        return None
    return np.asarray(homography, dtype=np.float64)


def _background(footage: Footage, frame: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    mask = np.full(shape[:2], 255, dtype=np.uint8)
    for box in footage.boxes[footage.frame == frame]:
        if not np.isnan(box).any():
            margin = MARGIN * (box[2:] - box[:2])
            x0, y0 = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
            x1, y1 = np.maximum(np.ceil(box[2:] + margin), 0).astype(int)
            mask[y0 : y1 + 1, x0 : x1 + 1] = 0
    return mask


def _projected(homography: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    plane = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1) @ homography.T
    projected: NDArray[np.float64] = plane[..., :2] / plane[..., 2:]
    return projected
