"""Motion of the truth: box motion (M1), joint speed (M2), articulated speed (M3), camera-compensated speed (M4).

Source: specification of slices, section 4. Speeds are head sizes per frame; 0.5 is the radius of PCKh, so above it a
copy of the neighbouring pose already fails.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.scoring.overlaps import row_iou
from harness.scoring.slices.camera import expected_positions
from harness.scoring.slices.footage import Footage
from harness.scoring.slices.registry import register_slice
from harness.skeletons import POSETRACK15

__all__ = ["SPEED_EDGES", "displacements", "speeds"]

SPEED_EDGES = (0.25, 0.5)
SPEED_BINS = ("slow", "medium", "fast")

#: Labels farther apart than this many frames say nothing about speed (the tails of PoseTrack's val are 4 apart).
LARGEST_GAP = 4

#: M1 looks this many frames back and ahead.
BOX_REACH = 10

_TRACKS = "track ids and consecutively labelled frames"
_ROOT = [POSETRACK15.index(f"{side}_{joint}") for joint in ("hip", "shoulder") for side in ("left", "right")]

#: (footage, rows before, rows after) -> (n,15,2) where the joints of the rows after are expected to be.
Expected = Callable[[Footage, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@register_slice(
    "box_motion",
    level="person",
    bins=("fast", "medium", "slow"),
    edges=(0.7, 0.9),
    title="Mean IoU of a person's box with its own within 10 frames (M1): fast to 0.7, medium to 0.9, slow",
    needs=_TRACKS,
)
def box_motion(footage: Footage) -> NDArray[np.float64] | None:
    """Mean IoU with the boxes of the same track in the frames around; misses limbs that move in a still box."""
    if not len(footage.track_order):
        return None
    total, count = np.zeros(len(footage)), np.zeros(len(footage))
    for step in (*range(-BOX_REACH, 0), *range(1, BOX_REACH + 1)):
        other = footage.neighbour(step)
        rows = np.flatnonzero(other >= 0)
        total[rows] += row_iou(footage.boxes[rows], footage.boxes[other[rows]])
        count[rows] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@register_slice(
    "speed", level="joint", bins=SPEED_BINS, edges=SPEED_EDGES, title="Joint speed, heads per frame (M2)", needs=_TRACKS
)
def speed(footage: Footage) -> NDArray[np.float64] | None:
    """Displacement to the frames before and after, in head sizes; the mean where both are labelled."""
    return speeds(footage, _same_place)


@register_slice(
    "speed_terciles",
    level="joint",
    bins=SPEED_BINS,
    quantiles=True,
    title="Joint speed in heads per frame, terciles of the data set (is a finding one of the edges?)",
    needs=_TRACKS,
)
def speed_terciles(footage: Footage) -> NDArray[np.float64] | None:
    """`speed`, for bins of equal size."""
    return speeds(footage, _same_place)


@register_slice(
    "speed_by_size",
    level="joint",
    bins=SPEED_BINS,
    quantiles=True,
    title="Joint speed over the root of the box area, terciles (is a finding one of noisy head boxes?)",
    needs=_TRACKS,
)
def speed_by_size(footage: Footage) -> NDArray[np.float64] | None:
    """Speed with the person's size in place of the head size."""
    sides = footage.boxes[:, 2:] - footage.boxes[:, :2]
    with np.errstate(all="ignore"):
        size = np.sqrt(sides.prod(axis=1))
    return speeds(footage, _same_place, unit=np.where(size > 0, size, np.nan))


@register_slice(
    "speed_sparse",
    level="joint",
    bins=SPEED_BINS,
    edges=SPEED_EDGES,
    title=f"Joint speed across gaps of 2 to {LARGEST_GAP} frames, heads per frame (M2)",
    needs="labels 2 to 4 frames apart",
)
def speed_sparse(footage: Footage) -> NDArray[np.float64] | None:
    """Speed of the joints without a label one frame away, from the nearest one at most `LARGEST_GAP` frames away."""
    values = np.full(footage.labelled.shape, np.nan)
    for gap in range(LARGEST_GAP, 1, -1):
        found = speeds(footage, _same_place, gap=gap)
        values = values if found is None else np.where(np.isnan(found), values, found)
    dense = speeds(footage, _same_place)
    values[~np.isnan(dense) if dense is not None else np.zeros(values.shape, dtype=bool)] = np.nan
    return None if np.isnan(values).all() else values


@register_slice(
    "articulated_speed",
    level="joint",
    bins=SPEED_BINS,
    edges=SPEED_EDGES,
    title="Joint speed beyond that of the body, heads per frame (M3)",
    needs=_TRACKS,
)
def articulated_speed(footage: Footage) -> NDArray[np.float64] | None:
    """Speed after the motion of the person (hips and shoulders, else box centre) is taken off."""
    return speeds(footage, _with_the_body)


@register_slice(
    "compensated_speed",
    level="joint",
    bins=SPEED_BINS,
    edges=SPEED_EDGES,
    title="Joint speed beyond that of the camera, heads per frame (M4)",
    needs="images, or at least 3 tracked people per frame",
)
def compensated_speed(footage: Footage) -> NDArray[np.float64] | None:
    """Speed after the motion of the background (without images: of the median joint) is taken off."""
    return speeds(footage, expected_positions)


@register_slice(
    "camera_motion",
    level="frame",
    bins=("still", "moving", "fast"),
    edges=(0.05, 0.25),
    title="Motion of the camera, median head sizes per frame",
    needs="images, or at least 3 tracked people per frame",
)
def camera_motion(footage: Footage) -> NDArray[np.float64] | None:
    """How far the camera alone moves the joints of a frame since the frame before: median over them, in head sizes."""
    rows, before = _pairs(footage, -1)
    moved = expected_positions(footage, before, rows) - footage.joints[before]
    heads = np.hypot(moved[..., 0], moved[..., 1]) / footage.head[rows, None]
    values = np.full(len(footage.sequence.frames), np.nan)
    for frame in np.unique(footage.frame[rows]):
        own = heads[footage.frame[rows] == frame]
        values[frame] = np.median(own[~np.isnan(own)]) if not np.isnan(own).all() else np.nan
    return None if np.isnan(values).all() else values


def displacements(footage: Footage, step: int, expected: Expected | None = None) -> NDArray[np.float64]:
    """(N,15) px a joint moved since (until, if `step` > 0) the labelled frame `step` away; NaN where there is none."""
    rows, other = _pairs(footage, step)
    moved = np.full(footage.labelled.shape, np.nan)
    apart = footage.joints[rows] - (expected or _same_place)(footage, other, rows)
    moved[rows] = np.hypot(apart[..., 0], apart[..., 1])
    return moved


def speeds(
    footage: Footage, expected: Expected, *, gap: int = 1, unit: NDArray[np.float64] | None = None
) -> NDArray[np.float64] | None:
    """(N,15) head sizes (or `unit` (N,) px) per frame: mean of past and future where both exist; None for no motion."""
    length = footage.head if unit is None else unit
    sides = [displacements(footage, step, expected) / (length[:, None] * gap) for step in (-gap, gap)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values: NDArray[np.float64] = np.nanmean(sides, axis=0) if len(footage) else sides[0]
    return None if np.isnan(values).all() else values


def _pairs(footage: Footage, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    other = footage.neighbour(step)
    rows = np.flatnonzero(other >= 0)
    return rows, other[rows]


def _same_place(footage: Footage, other: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return footage.joints[other]


def _with_the_body(footage: Footage, other: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    root = (footage.joints[rows][:, _ROOT] - footage.joints[other][:, _ROOT]).mean(axis=1)
    centre = [footage.boxes[side].reshape(-1, 2, 2).mean(axis=1) for side in (rows, other)]
    body = np.where(np.isnan(root).any(axis=1, keepdims=True), centre[0] - centre[1], root)
    moved: NDArray[np.float64] = footage.joints[other] + body[:, None]
    return moved
