"""Occlusion: flags of the labels (O1), how long they last, and how much of a person is hidden or missing (O2).

Source: specification of slices, sections 1 and 3. All bins are this project's, not a published protocol.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.scoring.ragged import Integers
from harness.scoring.slices.footage import Footage
from harness.scoring.slices.registry import register_slice

__all__ = ["SHORT_RUN", "run_lengths", "run_numbers"]

#: Occlusions of at most this many frames are what support frames can see past.
SHORT_RUN = 4

_FLAGS = "per-joint visibility flags (PoseTrack18 has none)"
_SHARES = ("0", "0-.25", ".25-.5", ".5-1")
_SHARE_EDGES = (0.0, 0.25, 0.5)


@register_slice(
    "visibility", level="joint", bins=("visible", "occluded"), title="Joint visible or occluded (O1)", needs=_FLAGS
)
def visibility(footage: Footage) -> NDArray[np.float64] | None:
    """0 visible, 1 labelled but flagged as not visible."""
    return None if footage.occluded is None else np.where(footage.labelled, footage.occluded, np.nan)


@register_slice(
    "occlusion_run",
    level="joint",
    bins=("visible", "short", "long"),
    edges=(0.0, float(SHORT_RUN)),
    title=f"Length of the joint's occlusion: none, up to {SHORT_RUN} frames, more",
    needs=_FLAGS + " and track ids",
)
def occlusion_run(footage: Footage) -> NDArray[np.float64] | None:
    """Frames the joint's present occlusion lasts, 0 if it is visible; unknown for an occluded joint without track."""
    if footage.occluded is None:
        return None
    lengths = np.where(footage.labelled & ~footage.occluded, 0.0, np.nan)
    tracked = footage.track_order
    runs = run_lengths(footage, footage.occluded)
    lengths[tracked] = np.where(footage.occluded[tracked], runs[tracked], lengths[tracked])
    return lengths


@register_slice(
    "occluded_fraction",
    level="person",
    bins=_SHARES,
    edges=_SHARE_EDGES,
    title="Occluded share of a person's labelled joints (O2)",
    needs=_FLAGS,
)
def occluded_fraction(footage: Footage) -> NDArray[np.float64] | None:
    """Occluded / labelled joints of every person."""
    if footage.occluded is None:
        return None
    labelled = footage.labelled.sum(axis=1)
    return np.where(labelled > 0, footage.occluded.sum(axis=1) / np.maximum(labelled, 1), np.nan)


@register_slice(
    "missing_fraction",
    level="person",
    bins=_SHARES,
    edges=_SHARE_EDGES,
    title="Missing-joint fraction: unlabelled of 15, be it hidden or cut off",
)
def missing_fraction(footage: Footage) -> NDArray[np.float64]:
    """Unlabelled joints / 15; mixes occlusion with truncation."""
    labelled: NDArray[np.float64] = footage.labelled.mean(axis=1)
    return 1 - labelled


@register_slice(
    "labelled_joints",
    level="person",
    bins=("1-5", "6-10", "11-13", "14-15"),
    edges=(5.0, 10.0, 13.0),
    title="Labelled joints of a person",
)
def labelled_joints(footage: Footage) -> NDArray[np.float64]:
    """Number of labelled joints; people with none are unknown."""
    count = footage.labelled.sum(axis=1).astype(float)
    return np.where(count > 0, count, np.nan)


def run_lengths(footage: Footage, state: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,15) number of consecutive frames of its track that a joint stays in `state` (N,15); 0 where it is not.

    A frame in which the person is not labelled ends the run, and so does the end of the sequence: lengths are lower
    bounds there.
    """
    numbers = run_numbers(footage, state)
    lengths = np.bincount(numbers[numbers >= 0], minlength=1)
    return np.where(state & (numbers >= 0), lengths[np.maximum(numbers, 0)], 0)


def run_numbers(footage: Footage, state: NDArray[np.bool_]) -> Integers:
    """(N,15) number of the run a joint in `state` belongs to, from 0; -1 where it is in none (or has no track)."""
    order = footage.track_order
    previous = footage.neighbour(-1)
    goes_on = state & (previous >= 0)[:, None] & state[previous]
    begins = (state & ~goes_on)[order]
    running = np.cumsum(begins.T.ravel()).reshape(begins.shape[::-1]).T - 1
    numbers = np.full(state.shape, -1, dtype=np.int64)
    numbers[order] = np.where(state[order], running, -1)
    return numbers
