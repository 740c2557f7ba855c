"""Bones of poses in space or in the picture: lengths, directions, and how constant they are (seed002_rest.md 5).

For lifting, which PoseTrack does not score: joints are (...,J,3) in any unit, or (...,J,2) px, and a bone is a pair
(from, to) of joint indices. Bones keep their length; a pose whose bones do not, flickers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HUMAN36M_BONES", "bone_directions", "bone_lengths", "bone_spread", "joint_distances_from_truth", "joint_shifts",
    "mean_joint_error", "shift_pairs",
]  # fmt: skip

Floats = NDArray[np.floating[Any]]

#: Bones of the 17 joints of Human3.6M, as the anatomy-aware lifting network has them.
HUMAN36M_BONES = (
    (16, 15), (15, 14), (13, 12), (12, 11), (10, 9), (9, 8), (8, 7), (8, 11), (8, 14), (7, 0), (3, 2), (2, 1), (6, 5),
    (5, 4), (1, 0), (4, 0),
)  # fmt: skip

Bones = tuple[tuple[int, int], ...]


def bone_vectors(joints: Floats, bones: Bones) -> Floats:
    """(...,bones,D) from the first joint of each bone to the second."""
    start, end = np.array(bones).T
    vectors: Floats = joints[..., end, :] - joints[..., start, :]
    return vectors


def bone_lengths(joints: Floats, bones: Bones = HUMAN36M_BONES) -> Floats:
    """(...,bones) lengths in the joints' unit.

    >>> bone_lengths(np.array([[0.0, 0.0], [3.0, 4.0]]), ((0, 1),)).tolist()
    [5.0]
    """
    lengths: Floats = np.linalg.norm(bone_vectors(joints, bones), axis=-1)
    return lengths


def bone_directions(joints: Floats, bones: Bones = HUMAN36M_BONES) -> Floats:
    """(...,bones,D) unit vectors along the bones; NaN for a bone without a length."""
    vectors = bone_vectors(joints, bones)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: Floats = np.divide(vectors, length, out=np.full_like(vectors, np.nan), where=length > 0)
    return directions


def joint_shifts(joints: Floats, bones: Bones = HUMAN36M_BONES) -> Floats:
    """(...,pairs,D) from joint i to every joint j >= i that no bone joins it to, itself included."""
    return bone_vectors(joints, shift_pairs(joints.shape[-2], bones))


def shift_pairs(count: int, bones: Bones) -> Bones:
    """The pairs (i, j >= i) of `count` joints that no bone joins.

    >>> shift_pairs(2, ((1, 0),))
    ((0, 0), (1, 1))
    """
    joined = {frozenset(bone) for bone in bones}
    return tuple((i, j) for i in range(count) for j in range(i, count) if frozenset((i, j)) not in joined)


def joint_distances_from_truth(found: Floats, true: Floats, *, root: int | None = None) -> Floats:
    """(...,J) distance of each joint from the true one, after both were moved so that joint `root` is the origin."""
    if root is not None:
        found, true = (pose - pose[..., root : root + 1, :] for pose in (found, true))
    distances: Floats = np.linalg.norm(found - true, axis=-1)
    return distances


def mean_joint_error(found: Floats, true: Floats, *, root: int | None = 0) -> float:
    """MPJPE: the mean distance over all joints that are known in both (not NaN), in their unit; NaN where none is.

    >>> true = np.zeros((1, 2, 3))
    >>> mean_joint_error(true + 7.0, true), mean_joint_error(true + np.array([[0, 0, 0], [0, 3, 4.0]]), true)
    (0.0, 2.5)
    """
    distances = joint_distances_from_truth(found, true, root=root)
    known = np.isfinite(distances)
    return float(distances[known].mean()) if known.any() else float("nan")


def bone_spread(joints: Floats, bones: Bones = HUMAN36M_BONES) -> Floats:
    """(bones,) how much the length of a bone changes over the frames of a track (T,J,D): deviation over mean.

    0 for a rigid body; NaN where a bone is never known. In the picture a bone also shortens by turning away.

    >>> still = np.array([[0.0, 0.0], [0.0, 2.0]])
    >>> bone_spread(np.stack([still, 1.5 * still]), ((0, 1),)).tolist()
    [0.2]
    """
    lengths = bone_lengths(joints, bones)
    spread: Floats = np.full(len(bones), np.nan)
    for bone in np.flatnonzero(np.isfinite(lengths).any(axis=0)).tolist():
        known = lengths[np.isfinite(lengths[:, bone]), bone]
        spread[bone] = known.std() / known.mean() if known.mean() > 0 else np.nan
    return spread
