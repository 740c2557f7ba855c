"""Footage: the truth of one sequence with what slices commonly ask of it, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, Sequence
from harness.scoring.overlaps import extents, row_iou
from harness.scoring.ragged import Integers, counts_and_starts, pairs_within
from harness.scoring.scene import HEAD_FRACTION
from harness.skeletons import POSETRACK15

__all__ = ["Footage", "GreyImages"]

#: (sequence, position in `Sequence.frames`) -> the image, (H,W) uint8.
GreyImages = Callable[[Sequence, int], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Footage:
    """One sequence as slices see it: N people, joints in POSETRACK15 order, rows as in `Sequence.truth`.

    `images` fetches grey images, None where a run has none.
    """

    sequence: Sequence
    images: GreyImages | None = None

    def __len__(self) -> int:
        return len(self.sequence.truth)

    @cached_property
    def _columns(self) -> Integers:
        return self.sequence.skeleton.positions_of(POSETRACK15)

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,15) the joint has a position."""
        return self.sequence.truth.annotated[:, self._columns]

    @cached_property
    def joints(self) -> NDArray[np.float64]:
        """(N,15,2) px, NaN where not labelled."""
        joints: NDArray[np.float64] = self.sequence.truth.joints[:, self._columns].copy()
        joints[~self.labelled] = np.nan
        return joints

    @cached_property
    def visible(self) -> NDArray[np.bool_] | None:
        """(N,15) the joint can be seen; None where the labels do not say."""
        visible = self.sequence.truth.visible
        return None if visible is None else visible[:, self._columns]

    @cached_property
    def occluded(self) -> NDArray[np.bool_] | None:
        """(N,15) the joint is labelled and flagged as not visible; None where the labels do not say."""
        return None if self.visible is None else self.labelled & ~self.visible

    @property
    def frame(self) -> Integers:
        """(N,) position in `Sequence.frames`, ascending."""
        return self.sequence.truth.frame

    @cached_property
    def index(self) -> Integers:
        """(N,) number of the frame in the video."""
        numbers = np.array([frame.index for frame in self.sequence.frames], dtype=np.int64)
        return numbers[self.frame] if len(self) else np.zeros(0, dtype=np.int64)

    @cached_property
    def head(self) -> NDArray[np.float64]:
        """(N,) head size px, NaN where there is no head box or it has no extent."""
        boxes = self.sequence.truth.head_boxes
        size: NDArray[np.float64] = HEAD_FRACTION * np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        return np.where(size > 0, size, np.nan)

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """(N,4) xyxy px; the extent of the joints where the file gives no box."""
        boxes = self.sequence.truth.boxes
        return np.where(np.isnan(boxes), extents(self.joints[..., 0], self.joints[..., 1]), boxes)

    @cached_property
    def frame_sizes(self) -> NDArray[np.float64]:
        """(F,2) width and height px, NaN where the file does not state them."""
        sizes = [frame.size or (np.nan, np.nan) for frame in self.sequence.frames]
        return np.array(sizes, dtype=float).reshape(-1, 2)

    @cached_property
    def companions(self) -> tuple[Integers, Integers]:
        """(left, right): every ordered pair of two people in one frame."""
        counts, starts = counts_and_starts(self.frame, len(self.sequence.frames))
        left, right = pairs_within(counts[self.frame], starts[self.frame])
        apart = left != right
        return left[apart], right[apart]

    @cached_property
    def companion_iou(self) -> NDArray[np.float64]:
        """Box intersection over union of every pair of `companions`."""
        left, right = self.companions
        return row_iou(self.boxes[left], self.boxes[right])

    def neighbour(self, step: int) -> Integers:
        """(N,) row of the same track `step` video frames later (earlier if negative), -1 where it is not labelled."""
        keys, rows = self._track_keys
        found = np.full(len(self), -1, dtype=np.int64)
        if len(keys):
            place = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
            found[rows] = np.where(keys[place] == keys + step, rows[place], -1)
        return found

    @cached_property
    def track_order(self) -> Integers:
        """Rows with a track, by track and then time; of two in one frame only the first."""
        return self._track_keys[1]

    @cached_property
    def _track_keys(self) -> tuple[Integers, Integers]:
        """(keys, rows): one number per (track, frame), ascending, tracks farther apart than any step."""
        rows = np.flatnonzero(self.sequence.truth.track_ids != NO_TRACK)
        _, track = np.unique(self.sequence.truth.track_ids[rows], return_inverse=True)
        index = self.index[rows]
        span = 2 * int(np.ptp(index)) + 1000 if len(rows) else 1
        keys, first = np.unique(track * span + index - (index.min() if len(rows) else 0), return_index=True)
        return keys, rows[first]
