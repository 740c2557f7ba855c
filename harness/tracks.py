"""Who is who over time: people of following frames are assigned to one another by overlap and similarity of poses.

The tracker is the common one: in every frame the people found are assigned to the tracks that are still alive so that
the sum of similarities is greatest (Hungarian method), and whoever is like no track begins a new one. It serves methods
that need tracked boxes, and MOTA for methods that do not track.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from harness.boxes import Boxes, overlap, revised
from harness.datasets.sequences import DataSet
from harness.errors import DataError
from harness.predictions import Predictions
from harness.similarity import keypoint_similarity, oks_sigmas, pose_boxes

__all__ = ["MINIMUM", "MOMENTUM", "PATIENCE", "link", "track_boxes", "track_predictions"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Least similarity of a person to a track. This and the two below gave the fewest changes of identity on 30 labelled
#: videos, with and without noise and missing people, for every frame and for every fourth.
MINIMUM = 0.1

#: Frames after which a track that found nobody ends.
PATIENCE = 12

#: Share of a track's last velocity that it is expected to keep.
MOMENTUM = 0.5

#: Similarity (P,Q) of earlier rows (P,), moved by shifts (P,2) px, with rows (Q,) of the frame at hand.
Similarity = Callable[[Integers, Floats, Integers], Floats]


def link(
    times: Integers,
    centres: Floats,
    similarity: Similarity,
    *,
    minimum: float = MINIMUM,
    patience: int = PATIENCE,
    momentum: float = MOMENTUM,
) -> Integers:
    """(N,) track numbers 0, 1 ... in order of appearance, for people of one video ordered by time.

    `times` (N,) frame numbers in the video, `centres` (N,2) px.

    >>> boxes = np.array([[0.0, 0, 2, 2], [9, 0, 11, 2], [10, 0, 12, 2], [1, 0, 3, 2]])
    >>> centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    >>> link(np.array([0, 0, 1, 1]), centres, lambda old, shift, new: overlap(boxes[old], boxes[new])).tolist()
    [0, 1, 1, 0]
    """
    tracks = np.full(len(times), -1, dtype=np.int64)
    velocity = np.zeros((len(times), 2))
    alive = np.zeros(0, dtype=np.int64)
    for rows in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times)) + 1):
        alive = alive[times[rows[:1]] - times[alive] <= patience]
        gaps = np.maximum(times[rows[:1]] - times[alive], 1)
        values = similarity(alive, momentum * velocity[alive] * gaps[:, None], rows)
        old, new = _assigned(np.where(values >= minimum, values, 0.0))
        before, after = alive[old], rows[new]
        tracks[after] = tracks[before]
        velocity[after] = (centres[after] - centres[before]) / gaps[old, None]
        fresh = rows[tracks[rows] < 0]
        tracks[fresh] = tracks.max(initial=-1) + 1 + np.arange(len(fresh))
        alive = np.concatenate([np.delete(alive, old), rows])
    return tracks


def track_boxes(boxes: Boxes, dataset: DataSet) -> Boxes:
    """The boxes with track ids by intersection over union, whatever ids they had; ids start at 0 in every sequence."""
    tracks = np.zeros(len(boxes), dtype=np.int64)
    for number in range(len(dataset)):
        rows = np.flatnonzero(boxes.sequence == number)

        def similarity(old: Integers, shift: Floats, new: Integers, corners: Floats = boxes.boxes[rows]) -> Floats:
            return overlap(corners[old] + np.tile(shift, 2), corners[new])

        tracks[rows] = link(_times(dataset, number, boxes.frame[rows]), _centres(boxes.boxes[rows]), similarity)
    return revised(boxes, note="tracked by IoU", track_ids=tracks)


def track_predictions(predictions: Predictions, dataset: DataSet) -> Predictions:
    """The predictions with track ids by the mean of OKS and box overlap, whatever ids they had.

    A person without a box is taken to fill the extent of the joints. Raises DataError for sequences that the data set
    does not have.
    """
    numbers = {sequence.name: number for number, sequence in enumerate(dataset.sequences)}
    tracks = np.zeros(len(predictions), dtype=np.int64)
    for place, name in enumerate(predictions.sequence_names):
        if name not in numbers:
            raise DataError(f"predictions of sequence {name}, which is not in {dataset.name} {dataset.split}")
        rows = np.flatnonzero(predictions.sequence == place)
        joints = np.where(predictions.present[rows, :, None], predictions.joints[rows], np.nan)
        boxes = pose_boxes(predictions.boxes[rows], joints)
        similarity = _pose_similarity(joints, boxes, oks_sigmas(predictions.skeleton))
        tracks[rows] = link(_times(dataset, numbers[name], predictions.frame[rows]), _centres(boxes), similarity)
    return replace(predictions, track_ids=tracks)


def _pose_similarity(joints: Floats, boxes: Floats, sigmas: Floats) -> Similarity:
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)

    def similarity(old: Integers, shift: Floats, new: Integers) -> Floats:
        poses = keypoint_similarity(joints[old] + shift[:, None], joints[new], areas[old], areas[new], sigmas=sigmas)
        return (poses + overlap(boxes[old] + np.tile(shift, 2), boxes[new])) / 2

    return similarity


def _assigned(values: Floats) -> tuple[Integers, Integers]:
    """Rows and columns of the one-to-one assignment of the greatest sum; pairs of value 0 are left out."""
    rows, columns = linear_sum_assignment(values, maximize=True)
    worth = values[rows, columns] > 0
    return rows[worth], columns[worth]


def _times(dataset: DataSet, number: int, frame: Integers) -> Integers:
    """Frame numbers in the video of positions in a sequence."""
    index = np.array([item.index for item in dataset.sequences[number].frames], dtype=np.int64)
    return index[frame]


def _centres(boxes: Floats) -> Floats:
    centres: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres
