"""Predictions: the poses a method found, as columns; Parquet, and both PoseTrack JSON layouts in and out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import check_shapes
from harness.skeletons import POSETRACK17, Skeleton

__all__ = ["Predictions"]


@dataclass(frozen=True)
class Predictions:
    """Poses of one or more sequences, ordered by sequence, frame and person.

    `sequence` (N,) index into `sequence_names`; `frame` (N,) position in `Sequence.frames`; `person` (N,) running
    number within the frame; `track_ids` (N,) int64, NO_TRACK where absent; `boxes` (N,4) xyxy px the pose was looked
    for in (NaN where unknown); `box_scores` (N,); `joints` (N,J,2) px in the image; `scores` (N,J), NaN where the file
    gives none; `present` (N,J) bool.
    """

    sequence_names: tuple[str, ...]
    sequence: NDArray[np.int64]
    frame: NDArray[np.int64]
    person: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    box_scores: NDArray[np.float64]
    joints: NDArray[np.float64]
    scores: NDArray[np.float64]
    present: NDArray[np.bool_]
    skeleton: Skeleton = POSETRACK17

    def __post_init__(self) -> None:
        count, joint_count = len(self.sequence), len(self.skeleton)
        check_shapes(
            self,
            frame=(count,), person=(count,), track_ids=(count,), boxes=(count, 4), box_scores=(count,),
            joints=(count, joint_count, 2), scores=(count, joint_count), present=(count, joint_count),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.sequence)
