"""Object keypoint similarity of poses with poses, as suppression and tracking need it (no truth, no visibility)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.skeletons import OKS_SIGMAS, Skeleton

__all__ = ["joint_distances", "keypoint_similarity", "oks_sigmas", "pose_boxes"]

Floats = NDArray[np.float64]


def joint_distances(first: Floats, second: Floats) -> Floats:
    """(N,M,J) px between the joints of (N,J,2) and (M,J,2); NaN where either has none."""
    offsets = first[:, None] - second[None]
    distances: Floats = np.sqrt(np.square(offsets).sum(axis=-1))
    return distances


def keypoint_similarity(
    first: Floats, second: Floats, first_areas: Floats, second_areas: Floats, *, sigmas: Floats
) -> Floats:
    """(N,M) OKS of poses (N,J,2) with poses (M,J,2), px, NaN for a joint that is not there.

    The area is the mean of both poses' areas (N,), (M,) px^2; joints that only one of them has do not count, and poses
    that share no joint have similarity 0. Source: oks_ap.md, last section; hrnet.md section 5.

    >>> pose, area = np.array([[[0.0, 0.0], [10.0, 0.0]]]), np.array([100.0])
    >>> keypoint_similarity(pose, pose + [[3.0, 4.0]], area, area, sigmas=np.array([0.5, 0.5])).round(4)
    array([[0.8825]])
    """
    areas = (first_areas[:, None] + second_areas[None]) / 2 + np.spacing(1)
    exponents = np.square(joint_distances(first, second)) / np.square(2 * sigmas) / areas[:, :, None] / 2
    shared = ~np.isnan(exponents)
    values = np.where(shared, np.exp(-np.where(shared, exponents, 0.0)), 0.0)
    similarity: Floats = values.sum(axis=2) / np.maximum(shared.sum(axis=2), 1)
    return similarity


def oks_sigmas(skeleton: Skeleton) -> Floats:
    """(J,) sigmas in the order of a skeleton; a joint that PoseTrack does not have gets the nose's.

    >>> from harness.skeletons import POSETRACK21_15
    >>> oks_sigmas(POSETRACK21_15)[:3].tolist()
    [0.026, 0.025, 0.025]
    """
    return np.array([OKS_SIGMAS.get(name, OKS_SIGMAS["nose"]) for name in skeleton.names])


def pose_boxes(boxes: Floats, joints: Floats) -> Floats:
    """(N,4) the boxes, or where they are not known (NaN) the extents of the joints (N,J,2), NaN for absent ones.

    >>> pose_boxes(np.full((1, 4), np.nan), np.array([[[1.0, 5.0], [3.0, 2.0], [np.nan, np.nan]]])).tolist()
    [[1.0, 2.0, 3.0, 5.0]]
    """
    lacking = ~np.isfinite(boxes).all(axis=1) & ~np.isnan(joints).all(axis=(1, 2))
    filled = boxes.copy()
    filled[lacking] = np.hstack([np.nanmin(joints[lacking], axis=1), np.nanmax(joints[lacking], axis=1)])
    return filled
