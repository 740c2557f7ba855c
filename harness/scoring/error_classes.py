"""What became of every truth joint: good, jitter, inversion, swap, miss, absent or undetected.

Two orders of judging: ours in PCKh terms (specification of slices, section 6), and that of coco-analyze in OKS terms
(Ronchi and Perona, ICCV 2017), both on poseval's own matches.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.scoring.matched import Matched
from harness.scoring.matching import GATE
from harness.scoring.ragged import Integers, counts_and_starts, pairs_within
from harness.scoring.scene import Scene
from harness.skeletons import OKS_SIGMAS, POSETRACK15

__all__ = ["CLASSES", "UNLABELLED", "oks_classes", "pckh_classes"]

#: Codes are positions here. The first five are of predicted joints of matched people.
CLASSES = ("good", "jitter", "inversion", "swap", "miss", "absent", "undetected")
GOOD, JITTER, INVERSION, SWAP, MISS, ABSENT, UNDETECTED = range(len(CLASSES))

#: The code of a truth joint that is not labelled.
UNLABELLED = -1

#: Up to this many head sizes a joint jitters, beyond it is missed (PCKh order).
JITTER_HEADS = 1.0

#: Keypoint similarities above which a joint is good, and from which it is near anything (OKS order).
GOOD_SIMILARITY, NEAR_SIMILARITY = 0.85, 0.5

_MIRRORED = POSETRACK15.flip_order
_PAIRED = np.arange(len(POSETRACK15)) != _MIRRORED


def pckh_classes(matched: Matched) -> NDArray[np.int64]:
    """(G,15) codes of `CLASSES`, judged in this order.

    Good within 0.5 head sizes; inversion within 0.5 of the own opposite joint; swap within 0.5 of another person's same
    or opposite joint (by that person's head); jitter within 1; else miss.
    """
    scene = matched.table.scene
    rows, people = _matched_pairs(matched)
    own = _apart(scene, people, rows, mirrored=False)
    mirrored = _apart(scene, people, rows, mirrored=True)
    swapped = np.zeros(scene.truth.present.shape, dtype=bool)
    for left, right, person in _companions(matched):
        with np.errstate(invalid="ignore"):
            near = (_apart(scene, person, right, mirrored=False) <= GATE) | (
                _apart(scene, person, right, mirrored=True) <= GATE
            )
        np.logical_or.at(swapped, left, near)
    codes = np.full(own.shape, MISS)
    with np.errstate(invalid="ignore"):
        codes[own <= JITTER_HEADS] = JITTER
        codes[swapped[rows]] = SWAP
        codes[mirrored <= GATE] = INVERSION
    codes[matched.table.hit[people]] = GOOD
    return _with_the_rest(matched, rows, people, codes)


def oks_classes(matched: Matched, sigmas: Mapping[str, float] = OKS_SIGMAS) -> NDArray[np.int64]:
    """(G,15) codes of `CLASSES` by who attains the largest keypoint similarity, exp(-d^2 / (2 a (2 sigma)^2)).

    The own joint: good above 0.85, jitter from 0.5; the own opposite joint: inversion; another person's same or
    opposite joint: swap; nobody reaching 0.5: miss. `a` is the area of the person's box. PoseTrack has no sigmas of its
    own: head_bottom and head_top have the eyes', which makes jitter there far too strict.
    """
    scene = matched.table.scene
    rows, people = _matched_pairs(matched)
    scale: NDArray[np.float64] = 2.0 * np.array([sigmas[name] for name in POSETRACK15.names], dtype=np.float64)
    own = _similarity(matched, people, rows, scale, mirrored=False)
    mirrored = _similarity(matched, people, rows, scale, mirrored=True)
    others = np.zeros(scene.truth.present.shape)
    for left, right, person in _companions(matched):
        for side in (False, True):
            np.maximum.at(others, left, _similarity(matched, person, right, scale, mirrored=side))
    rival = others[rows]
    codes = np.where(own > GOOD_SIMILARITY, GOOD, JITTER)
    codes[mirrored > own] = INVERSION
    codes[(rival > own) & (rival > mirrored)] = SWAP
    codes[np.maximum(np.maximum(own, mirrored), rival) < NEAR_SIMILARITY] = MISS
    return _with_the_rest(matched, rows, people, codes)


def _matched_pairs(matched: Matched) -> tuple[Integers, Integers]:
    rows = np.flatnonzero(matched.table.predicted_of >= 0)
    return rows, matched.table.predicted_of[rows]


def _companions(matched: Matched) -> list[tuple[Integers, Integers, Integers]]:
    """(matched truth person, another truth person of the frame, prediction of the first) for every such pair."""
    truth = matched.table.scene.truth
    counts, starts = counts_and_starts(truth.frame, matched.table.scene.frame_count)
    left, right = pairs_within(counts[truth.frame], starts[truth.frame])
    kept = (left != right) & (matched.table.predicted_of[left] >= 0)
    left, right = left[kept], right[kept]
    return [
        (
            left[start : start + 65536],
            right[start : start + 65536],
            matched.table.predicted_of[left[start : start + 65536]],
        )
        for start in range(0, len(left), 65536)
    ]


def _offsets(
    scene: Scene, people: Integers, rows: Integers, *, mirrored: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y (n,15) px from a truth person's joint, or the opposite one, to the predicted joint; NaN for none."""
    order = _MIRRORED if mirrored else slice(None)
    dx = scene.predicted.x[people] - scene.truth.x[rows][:, order]
    dy = scene.predicted.y[people] - scene.truth.y[rows][:, order]
    if mirrored:
        dx[:, ~_PAIRED] = np.nan
    return dx, dy


def _apart(scene: Scene, people: Integers, rows: Integers, *, mirrored: bool) -> NDArray[np.float64]:
    """(n,15) distance in head sizes of the truth person."""
    with np.errstate(all="ignore"):
        distance: NDArray[np.float64] = np.hypot(*_offsets(scene, people, rows, mirrored=mirrored))
        return distance / scene.head[rows, None]


def _similarity(
    matched: Matched, people: Integers, rows: Integers, scale: NDArray[np.float64], *, mirrored: bool
) -> NDArray[np.float64]:
    """(n,15) keypoint similarity to the truth person, 0 where either joint is not there."""
    dx, dy = _offsets(matched.table.scene, people, rows, mirrored=mirrored)
    boxes = matched.truth_boxes[rows]
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 1e-6, None), axis=1)
    with np.errstate(all="ignore"):
        similarity: NDArray[np.float64] = np.exp(-(dx**2 + dy**2) / (2 * area[:, None] * scale**2))
    return np.nan_to_num(similarity)


def _with_the_rest(matched: Matched, rows: Integers, people: Integers, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes of matched people's predicted joints -> codes of every truth joint."""
    scene = matched.table.scene
    found = np.full(scene.truth.present.shape, UNDETECTED)
    found[rows] = np.where(scene.predicted.present[people], codes, ABSENT)
    found[~scene.truth.present] = UNLABELLED
    return found
