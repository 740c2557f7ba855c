"""A scene: truth and predictions of all sequences as flat arrays over one running frame number, ready to be matched.

What a protocol keeps of the files is decided by the functions that make a scene (`cleaning.py`, `posetrack21.py`);
everything after works on scenes alone.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import Polygon, Sequence
from harness.errors import DataError, listed
from harness.predictions import Predictions
from harness.scoring.polygons import joints_inside
from harness.scoring.ragged import Integers
from harness.skeletons import POSETRACK15

__all__ = ["HEAD_FRACTION", "UNSCORED", "People", "Scene", "frame_offsets", "ignored_joints", "stack"]

#: A head size is this fraction of the head box's diagonal.
HEAD_FRACTION = 0.6

#: The score of a joint whose file gives none (poseval section 4).
UNSCORED = -9999.0


@dataclass(frozen=True)
class People:
    """One side of a scene, ordered by frame and then as in the file.

    `frame` (N,) frame of the scene; `row` (N,) row in `Sequence.truth` or in `Predictions`; `x`, `y` (N,15) px in
    POSETRACK15 order, NaN where `present` (N,15) is False; `track_ids` (N,).
    """

    frame: Integers
    row: Integers
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    present: NDArray[np.bool_]
    track_ids: Integers

    def __len__(self) -> int:
        return len(self.frame)

    def only(self, kept: NDArray[np.bool_]) -> People:
        """The people where `kept` (N,) is True."""
        if kept.all():
            return self
        return People(
            frame=self.frame[kept],
            row=self.row[kept],
            x=self.x[kept],
            y=self.y[kept],
            present=self.present[kept],
            track_ids=self.track_ids[kept],
        )

    def without(self, joints: NDArray[np.bool_]) -> People:
        """The same people lacking the joints where `joints` (N,15) is True."""
        x, y = (np.where(joints, np.nan, values) for values in (self.x, self.y))
        return replace(self, x=x, y=y, present=self.present & ~joints)


@dataclass(frozen=True)
class Scene:
    """Truth and predictions of `sequence_names` over F frames.

    `frame_sequence`, `frame_position` (F,) say which sequence and which of its frames a scene frame is; `head` (G,)
    head sizes in px; `scores` (P,15).
    """

    sequence_names: tuple[str, ...]
    frame_sequence: Integers
    frame_position: Integers
    truth: People
    head: NDArray[np.float64]
    predicted: People
    scores: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def frame_count(self) -> int:
        """Frames evaluated."""
        return len(self.frame_sequence)


def frame_offsets(sequences: Series[Sequence]) -> Integers:
    """(S+1,) running number of each sequence's first frame, and the number of frames at the end."""
    return np.concatenate([[0], np.cumsum([len(sequence.frames) for sequence in sequences])]).astype(np.int64)


def stack(sequences: Series[Sequence], predictions: Predictions) -> Scene:
    """Everything in the files as one scene, joints in POSETRACK15 order, frames in the order of `sequences`.

    Raises DataError when a sequence has no predictions entry, when nothing is in common, or when a prediction lies
    beyond the frames of its sequence.
    """
    offsets = frame_offsets(sequences)
    lengths = np.diff(offsets)
    names = tuple(sequence.name for sequence in sequences)
    frame, row = _prediction_order(names, offsets, predictions)
    columns = predictions.skeleton.positions_of(POSETRACK15)
    scores = _rows(predictions.scores, columns, row)
    np.copyto(scores, UNSCORED, where=np.isnan(scores))
    x, y, present = _joints(predictions.joints, predictions.present, columns, row)
    return Scene(
        sequence_names=names,
        frame_sequence=np.repeat(np.arange(len(sequences)), lengths),
        frame_position=np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths),
        truth=_truth(sequences, offsets),
        head=_head_sizes(np.concatenate([sequence.truth.head_boxes for sequence in sequences])),
        predicted=People(frame, row, x, y, present, _picked(predictions.track_ids, row)),
        scores=scores,
    )


def ignored_joints(people: People, regions: dict[int, tuple[Polygon, ...]], frame_count: int) -> NDArray[np.bool_]:
    """(N,15) whether a joint lies strictly inside an ignore region of its frame; `regions` by scene frame."""
    ignored = np.zeros(people.present.shape, dtype=bool)
    frames = sorted(regions)
    numbers = np.full(frame_count, -1)
    numbers[frames] = np.arange(len(frames))
    touched = np.flatnonzero(numbers[people.frame] >= 0)
    if len(touched):
        polygons = [polygon for frame in frames for polygon in regions[frame]]
        group = np.repeat(np.arange(len(frames)), [len(regions[frame]) for frame in frames])
        own = numbers[people.frame[touched]]
        ignored[touched] = joints_inside(people.x[touched], people.y[touched], own, polygons, group, len(frames))
    return ignored


def _truth(sequences: Series[Sequence], offsets: Integers) -> People:
    parts = [
        _joints(truth.joints, truth.annotated, sequence.skeleton.positions_of(POSETRACK15), slice(None))
        for sequence, truth in ((sequence, sequence.truth) for sequence in sequences)
    ]
    x, y, present = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return People(
        frame=np.concatenate([seq.truth.frame + start for seq, start in zip(sequences, offsets[:-1], strict=True)]),
        row=np.concatenate([np.arange(len(sequence.truth)) for sequence in sequences]),
        x=x,
        y=y,
        present=present,
        track_ids=np.concatenate([sequence.truth.track_ids for sequence in sequences]),
    )


def _joints(
    joints: NDArray[np.float64], present: NDArray[np.bool_], columns: Integers, row: Integers | slice
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    flat = joints.reshape(len(joints), 2 * joints.shape[1])
    x, y, present = _rows(flat, 2 * columns, row), _rows(flat, 2 * columns + 1, row), _rows(present, columns, row)
    for values in (x, y):
        np.copyto(values, np.nan, where=~present)
    return x, y, present


def _rows(values: NDArray[Any], columns: Integers, row: Integers | slice) -> NDArray[Any]:
    return _picked(np.take(values, columns, axis=1), row)


def _picked(values: NDArray[Any], row: Integers | slice) -> NDArray[Any]:
    whole = isinstance(row, slice) or (len(row) == len(values) and np.array_equal(row, np.arange(len(row))))
    return values if whole else values[row]


def _head_sizes(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sizes: NDArray[np.float64] = HEAD_FRACTION * np.sqrt(width * width + height * height)
    return sizes


def _prediction_order(names: tuple[str, ...], offsets: Integers, predictions: Predictions) -> tuple[Integers, Integers]:
    """Scene frame and row of every prediction of the named sequences, frames ascending, file order kept."""
    missing = [name for name in names if name not in predictions.sequence_names]
    if len(missing) == len(names):
        raise DataError(
            f"the predictions share no sequence with the truth: they hold {listed(list(predictions.sequence_names))}, "
            f"the truth {listed(list(names))}; check that both are of the same split"
        )
    if missing:
        raise DataError(f"no predictions for {len(missing)} of {len(names)} sequences: {listed(missing)}")
    number = {name: position for position, name in enumerate(names)}
    place = np.array([number.get(name, -1) for name in predictions.sequence_names], dtype=np.int64)
    sequence = place[predictions.sequence]
    row = np.flatnonzero(sequence >= 0)
    sequence, position = sequence[row], predictions.frame[row]
    beyond = (position < 0) | (position >= np.diff(offsets)[sequence])
    if beyond.any():
        first = int(np.argmax(beyond))
        name, length = names[sequence[first]], np.diff(offsets)[sequence[first]]
        raise DataError(
            f"sequence {name}: prediction row {row[first]} is at frame position {position[first]}, but the truth has "
            f"{length} frames; export one entry per frame of the sequence"
        )
    frame = offsets[sequence] + position
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        frame, row = frame[order], row[order]
    return frame, row
