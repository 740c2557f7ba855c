"""Parametric pose NMS of RMPE: poses of one person are found by a similarity of joints and merged into one.

Two variants exist, the original one of the paper's release and the one the field uses now; both are greedy from the
most confident pose on. Source: seed002_rest.md 1.1 to 1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.similarity import joint_distances

__all__ = ["SIMILARITY", "MergedPoses", "merge_poses", "merge_poses_original", "pose_matches", "pose_similarity"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: Poses more similar than this are one person, in both variants.
SIMILARITY = 22.48

#: Reach of a joint, as a share of the longer side of the person's box.
REACH = 0.1


@dataclass(frozen=True)
class MergedPoses:
    """Poses after suppression, in the order they were picked.

    `picked` (M,) row of the pose that stands for the person; `members` the rows that were merged; `joints` (M,J,2) px;
    `scores` (M,J); `instance_scores` (M,).
    """

    picked: Integers
    members: tuple[tuple[int, ...], ...]
    joints: Floats
    scores: Floats
    instance_scores: Floats


def pose_similarity(distances: Floats, scores: Floats, *, confidence: float, weight: float, spread: float) -> Floats:
    """(N,N) similarity: confident joints within distance 1, and `weight` times a term that falls off with distance.

    `distances` (N,N,J) in the unit of the variant, `scores` (N,J); `confidence` (s1) and `spread` (s2) are RMPE's.
    """
    confident = np.tanh(scores / confidence)
    together = np.where(distances <= 1, confident[:, None] * confident[None], 0.0).sum(axis=2)
    similarity: Floats = together + weight * np.exp(-distances / spread).sum(axis=2)
    return similarity


def pose_matches(distances: Floats, reach: Floats) -> Integers:
    """(N,N) number of joints of a pose (column) within `reach` (N,) px, at most 7, of another pose's (row)."""
    counts: Integers = (distances <= np.minimum(reach, 7)[:, None, None]).sum(axis=2)
    return counts


def merge_poses(
    joints: Floats,
    scores: Floats,
    boxes: Floats,
    box_scores: Floats,
    *,
    similarity: float = SIMILARITY,
    matches: int = 5,
    minimum_score: float = 0.3,
    minimum_area: float = 0.0,
) -> MergedPoses:
    """The variant in use now: distances in px, and five joints close together suffice to be one person.

    `joints` (N,J,2) px, NaN where absent, `scores` (N,J), `boxes` (N,4) xyxy, `box_scores` (N,). People whose best
    joint scores less than `minimum_score`, before or after merging, are dropped, and so are those smaller than
    `minimum_area` px^2.
    """
    scores = np.where(scores <= 0, 1e-5, scores)
    reach, distances = _reach(boxes), _distances(joints)
    alike = pose_similarity(distances, scores, confidence=1, weight=1.7, spread=2.65) > similarity
    clusters = _clusters(scores.mean(axis=1), alike | (pose_matches(distances, reach) >= matches))
    found = []
    for best, members in clusters:
        near = distances[best, members] <= min(reach[best], 15)
        pose, shares = _mean(joints[members], np.where(near, scores[members], 0.0))
        score = (shares * scores[members]).sum(axis=0)
        area = 2.25 * (np.nanmax(pose, axis=0) - np.nanmin(pose, axis=0)).prod()
        if scores[best].max() >= minimum_score and score.max() >= minimum_score and area >= minimum_area:
            instance = score.mean() + box_scores[best] + 1.25 * score.max()
            found.append((best, members, pose, score, float(instance)))
    return _merged(found, joints.shape[1])


def merge_poses_original(
    joints: Floats,
    scores: Floats,
    boxes: Floats,
    *,
    similarity: float = SIMILARITY,
    minimum_score: float = 0.2,
    may_miss: Sequence[int] = (),
) -> MergedPoses:
    """The variant of the paper's release: distances in units of the picked person's reach, joint scores by maximum.

    Arguments as in `merge_poses`. People whose mean joint score is below `minimum_score` are dropped; joints in
    `may_miss` (the ankles) do not count in that mean where they score less than 0.1.
    """
    reach, distances = _reach(boxes), _distances(joints)
    relative = distances / np.maximum(reach, 1e-9)[:, None, None]
    alike = pose_similarity(relative, scores, confidence=0.01, weight=2.08, spread=2.08) > similarity
    found = []
    for best, members in _clusters(scores.mean(axis=1), alike):
        near = distances[best, members] <= reach[best]
        pose, _ = _mean(joints[members], np.where(near, np.maximum(scores[members], 1e-9), 0.0))
        score = np.where(near, scores[members], 0.0).max(axis=0)
        counted = np.ones(len(score), dtype=bool)
        counted[list(may_miss)] = score[list(may_miss)] >= 0.1
        if score[counted].mean() >= minimum_score:
            found.append((best, members, pose, score, float(score.mean())))
    return _merged(found, joints.shape[1])


def _reach(boxes: Floats) -> Floats:
    """(N,) px within which a joint counts as the same."""
    reach: Floats = REACH * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    return reach


def _distances(joints: Floats) -> Floats:
    """(N,N,J) px, infinite to a joint that is not there."""
    return np.nan_to_num(joint_distances(joints, joints), nan=np.inf)


def _clusters(scores: Floats, alike: Flags) -> list[tuple[int, Integers]]:
    """Greedily from the highest score (N,) on: the pose and all that are left and like it, itself included."""
    left = np.ones(len(scores), dtype=bool)
    clusters = []
    while left.any():
        best = int(np.argmax(np.where(left, scores, -np.inf)))
        mine = left & alike[best]
        mine[best] = True
        clusters.append((best, np.flatnonzero(mine)))
        left &= ~mine
    return clusters


def _mean(joints: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(J,2) mean of poses (N,J,2) by `weights` (N,J), NaN for a joint that none has, and the share (N,J) of each."""
    totals = weights.sum(axis=0)
    shares = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    mean = (shares[:, :, None] * np.nan_to_num(joints)).sum(axis=0)
    return np.where(totals[:, None] > 0, mean, np.nan), shares


def _merged(found: list[tuple[int, Integers, Floats, Floats, float]], joint_count: int) -> MergedPoses:
    return MergedPoses(
        picked=np.array([best for best, *_ in found], dtype=np.int64),
        members=tuple(tuple(members.tolist()) for _, members, *_ in found),
        joints=np.array([pose for *_, pose, _, _ in found]).reshape(-1, joint_count, 2),
        scores=np.array([score for *_, score, _ in found]).reshape(-1, joint_count),
        instance_scores=np.array([instance for *_, instance in found], dtype=np.float64),
    )
