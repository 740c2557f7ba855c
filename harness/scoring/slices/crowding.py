"""Crowding: overlap with other people (O3), crowd index (O4), joints covered by a neighbour (O5).

Source: specification of slices, section 3. People in ignore regions are not in the labels, so all are lower bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.scoring.slices.footage import Footage
from harness.scoring.slices.registry import register_slice

__all__: list[str] = []

#: Two people with a larger box IoU count as neighbours (coco-analyze).
NEIGHBOUR_IOU = 0.1

#: A neighbour's joint covers one within this many head sizes.
COVER_HEADS = 0.5


@register_slice(
    "overlap",
    level="person",
    bins=("0-.1", ".1-.5", ".5-.75", ".75-1"),
    edges=(0.1, 0.5, 0.75),
    title="Largest box IoU with another person (O3)",
)
def overlap(footage: Footage) -> NDArray[np.float64]:
    """Largest box IoU with another person of the frame, 0 for a person alone."""
    largest = np.zeros(len(footage))
    np.maximum.at(largest, footage.companions[0], footage.companion_iou)
    return largest


@register_slice(
    "neighbours", level="person", bins=("0", "1-2", "3+"), edges=(0.0, 2.0), title="People with box IoU above 0.1 (O3)"
)
def neighbours(footage: Footage) -> NDArray[np.float64]:
    """Number of other people whose box overlaps by more than `NEIGHBOUR_IOU`."""
    close = footage.companions[0][footage.companion_iou > NEIGHBOUR_IOU]
    return np.bincount(close, minlength=len(footage)).astype(float)


@register_slice(
    "crowd_index",
    level="frame",
    bins=("easy", "medium", "hard"),
    edges=(0.1, 0.8),
    title="Crowd index of the frame (O4): easy to 0.1, medium to 0.8, hard",
)
def crowd_index(footage: Footage) -> NDArray[np.float64]:
    """Mean over the people of a frame of (others' joints in the person's box) / (own joints in it)."""
    left, right = footage.companions
    rows = np.arange(len(footage))
    own = _inside(footage, rows, rows).sum(axis=1)
    others = np.bincount(left, weights=_inside(footage, left, right).sum(axis=1), minlength=len(footage))
    known = own > 0
    count, total = (
        np.bincount(footage.frame[known], weights=weights, minlength=len(footage.sequence.frames))
        for weights in (None, others[known] / own[known])
    )
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@register_slice(
    "covered", level="joint", bins=("free", "covered"), title="Joint by a neighbour's joint, in their box (O5)"
)
def covered(footage: Footage) -> NDArray[np.float64]:
    """1 where a joint lies in another person's box and within 0.5 own head sizes of a labelled joint of theirs.

    A proxy for swap risk, not an occlusion. Joints of people without head size are unknown.
    """
    found = np.zeros(footage.labelled.shape)
    left, right = footage.companions
    near = np.flatnonzero(footage.companion_iou > 0)
    left, right = left[near], right[near]
    inside = _inside(footage, right, left)
    for joint in range(found.shape[1]):
        apart = footage.joints[left, joint, None] - footage.joints[right]
        reach = COVER_HEADS * footage.head[left, None]
        touched = (np.hypot(apart[..., 0], apart[..., 1]) <= reach).any(axis=1) & inside[:, joint]
        found[left[touched], joint] = 1
    return np.where(footage.labelled & ~np.isnan(footage.head)[:, None], found, np.nan)


def _inside(footage: Footage, box_of: NDArray[np.int64], joints_of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,15) whether a labelled joint of one person lies in the box of another (borders included), pair by pair."""
    boxes, joints = footage.boxes[box_of][:, None], footage.joints[joints_of]
    inside: NDArray[np.bool_] = ((joints >= boxes[..., :2]) & (joints <= boxes[..., 2:])).all(axis=2)
    return inside
