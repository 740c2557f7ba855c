"""OKS-NMS: of poses that lie on one another the best is kept, or, in the soft form, the others are marked down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.similarity import keypoint_similarity

__all__ = ["instance_scores", "oks_suppression", "soft_oks_suppression"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def instance_scores(joint_scores: Floats, box_scores: Floats, *, minimum: float = 0.2) -> Floats:
    """(N,) box score times the mean of the joint scores (N,J) above `minimum`, 0 where none is (hrnet.md section 5).

    >>> instance_scores(np.array([[0.9, 0.5, 0.1], [0.1, 0.1, 0.1]]), np.array([0.5, 1.0])).round(3).tolist()
    [0.35, 0.0]
    """
    counted = joint_scores > minimum
    totals = np.where(counted, joint_scores, 0.0).sum(axis=1)
    scores: Floats = box_scores * totals / np.maximum(counted.sum(axis=1), 1)
    return scores


def oks_suppression(
    joints: Floats, scores: Floats, areas: Floats, *, sigmas: Floats, threshold: float = 0.9
) -> Integers:
    """The rows that are kept, best first: none is more similar than `threshold` to a better one that is kept.

    `joints` (N,J,2) px, NaN where absent; `scores` (N,), the earlier row of equals being the better; `areas` (N,) px^2
    (upstream: of the padded crop). Source: oks_ap.md, last section.
    """
    similarity = keypoint_similarity(joints, joints, areas, areas, sigmas=sigmas)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[similarity[best, left] <= threshold]
    return np.array(kept, dtype=np.int64)


def soft_oks_suppression(
    joints: Floats, scores: Floats, areas: Floats, *, sigmas: Floats, threshold: float = 0.9, limit: int = 20
) -> tuple[Integers, Floats]:
    """The rows that are kept, best first and at most `limit`, and their scores (K,) after marking down.

    Whenever a pose is kept, the scores of those left are multiplied by exp(-similarity^2 / threshold).
    Source: oks_ap.md, last section.
    """
    similarity = keypoint_similarity(joints, joints, areas, areas, sigmas=sigmas)
    current, left = scores.astype(np.float64), np.arange(len(scores))
    kept: list[int] = []
    while len(left) and len(kept) < limit:
        best = left[np.argmax(current[left])]
        kept.append(best)
        left = left[left != best]
        current[left] *= np.exp(-np.square(similarity[best, left]) / threshold)
    rows = np.array(kept, dtype=np.int64)
    return rows, current[rows]
