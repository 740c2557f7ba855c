"""Predictions: the poses a method found, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import check_shapes
from harness.skeletons import POSETRACK17, Skeleton

__all__ = ["Predictions", "person_numbers"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Poses of one or more sequences, ordered by sequence, frame and person.

    `sequence` (N,) index into `sequence_names`; `frame` (N,) position in `Sequence.frames`; `person` (N,) running
    number within the frame; `track_ids` (N,) int64, NO_TRACK where absent; `boxes` (N,4) xyxy px the pose was looked
    for in (NaN where unknown); `box_scores` (N,); `joints` (N,J,2) px in the image; `scores` (N,J), NaN where the file
    gives none; `present` (N,J) bool; `whole_numbers` (N,) bool, only known for imported files: every keypoint number of
    the person was written as a JSON integer (the PoseTrack21 kit truncates the scores of frames where all are).
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
    whole_numbers: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        count, joint_count = len(self.sequence), len(self.skeleton)
        check_shapes(
            self,
            frame=(count,), person=(count,), track_ids=(count,), boxes=(count, 4), box_scores=(count,),
            joints=(count, joint_count, 2), scores=(count, joint_count), present=(count, joint_count),
        )  # fmt: skip
        if self.whole_numbers is not None:
            check_shapes(self, whole_numbers=(count,))

    def __len__(self) -> int:
        return len(self.sequence)

    def __eq__(self, other: object) -> bool:
        """Equal in every value; NaN equals NaN, and `whole_numbers` (how a file was written) is left out."""
        if not isinstance(other, Predictions):
            return NotImplemented
        columns = [
            item.name for item in fields(self) if item.name not in ("sequence_names", "skeleton", "whole_numbers")
        ]
        return (
            self.sequence_names == other.sequence_names
            and self.skeleton == other.skeleton
            and all(np.array_equal(*pair, equal_nan=pair[0].dtype.kind == "f") for pair in zip(
                [getattr(self, name) for name in columns], [getattr(other, name) for name in columns], strict=True))
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]


def person_numbers(sequence: NDArray[np.int64], frame: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) running number within the frame, for rows ordered by sequence and frame.

    >>> person_numbers(np.array([0, 0, 0, 1]), np.array([4, 4, 6, 6])).tolist()
    [0, 1, 0, 0]
    """
    rows = np.arange(len(frame))
    starts = np.ones(len(frame), dtype=bool)
    starts[1:] = (np.diff(frame) != 0) | (np.diff(sequence) != 0)
    numbers: NDArray[np.int64] = rows - np.maximum.accumulate(np.where(starts, rows, 0))
    return numbers
