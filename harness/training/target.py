"""The target of an adaptation: people of whom a box is known and nothing else, whatever the files beside it say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.boxes import Boxes
from harness.datasets.sequences import NO_TRACK, DataSet, Sequence, Truth
from harness.errors import DataError

__all__ = ["boxes_alone"]


def boxes_alone(dataset: DataSet, boxes: Boxes | None = None) -> DataSet:
    """The data set with nothing known of its people but where they are: no joint is annotated, no head has a box.

    Who is there is told by `boxes`, in labelled frames or others, or else by the boxes that the label files hold for
    people of labelled frames; extents of joints do not count as boxes here. Raises DataError where nobody has a box.
    """
    sequences = tuple(
        _unlabelled(sequence) if boxes is None else _found(sequence, boxes, number)
        for number, sequence in enumerate(dataset.sequences)
    )
    if not any(_somebody(sequence) for sequence in sequences):
        named = f"{dataset.root}: {dataset.name} {dataset.split}"
        if boxes is None:
            raise DataError(
                f"{named} has no boxes that say where the people are; give a detector's with --target-boxes FILE"
            )
        raise DataError(
            f"{named}: {boxes.source} has no box for any frame; lower --target-min-box-score or give other boxes"
        )
    return replace(dataset, sequences=sequences)


def _unlabelled(sequence: Sequence) -> Sequence:
    """The people of a sequence without their joints and heads."""
    truth = sequence.truth
    return replace(
        sequence,
        truth=replace(
            truth, joints=np.zeros_like(truth.joints), annotated=np.zeros_like(truth.annotated), visible=None,
            head_boxes=np.full_like(truth.head_boxes, np.nan),
        ),
    )  # fmt: skip


def _found(sequence: Sequence, boxes: Boxes, number: int) -> Sequence:
    """A sequence of which every frame counts, with the boxes that are of it as its people."""
    rows = np.flatnonzero(boxes.sequence == number)
    count, joints = len(rows), len(sequence.skeleton)
    truth = Truth(
        frame=boxes.frame[rows], joints=np.zeros((count, joints, 2)), annotated=np.zeros((count, joints), dtype=bool),
        boxes=boxes.boxes[rows], head_boxes=np.full((count, 4), np.nan), track_ids=boxes.track_ids[rows],
        person_ids=np.full(count, NO_TRACK), has_points=np.zeros(count, dtype=bool),
    )  # fmt: skip
    return replace(sequence, frames=tuple(replace(frame, labelled=True) for frame in sequence.frames), truth=truth)


def _somebody(sequence: Sequence) -> bool:
    """Whether a frame that counts shows someone."""
    boxes = sequence.truth.boxes[sequence.labelled[sequence.truth.frame]]
    return bool((boxes[:, 2:] > boxes[:, :2]).all(axis=1).any())
