"""Predictions out of other things: several predictions put together, and the truth taken as if it were predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import DataSet
from harness.errors import DataError, listed
from harness.predictions.rows import Predictions, person_numbers

__all__ = ["by_sequence", "concatenate", "only", "truth_as_predictions"]


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of several groups of sequences as one, in the given order.

    Raises DataError without parts, for different skeletons, and for a sequence that is in two parts.
    """
    if not parts:
        raise DataError("there are no predictions to put together")
    names = tuple(name for part in parts for name in part.sequence_names)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"predictions of sequence {listed(twice)} are there twice")
    skeletons = sorted({part.skeleton.name for part in parts})
    if len(skeletons) > 1:
        raise DataError(f"predictions of different skeletons cannot be put together: {listed(skeletons)}")
    starts = np.cumsum([0, *(len(part.sequence_names) for part in parts)])
    whole = [part.whole_numbers for part in parts if part.whole_numbers is not None]
    return Predictions(
        sequence_names=names,
        sequence=np.concatenate([part.sequence + start for part, start in zip(parts, starts, strict=False)]),
        frame=np.concatenate([part.frame for part in parts]),
        person=np.concatenate([part.person for part in parts]),
        track_ids=np.concatenate([part.track_ids for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        box_scores=np.concatenate([part.box_scores for part in parts]),
        joints=np.concatenate([part.joints for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        present=np.concatenate([part.present for part in parts]),
        skeleton=parts[0].skeleton,
        whole_numbers=np.concatenate(whole) if len(whole) == len(parts) else None,
    )


def by_sequence(predictions: Predictions) -> list[Predictions]:
    """The predictions of every sequence on their own, as `concatenate` takes them."""
    count = len(predictions.sequence_names)
    edges = np.searchsorted(predictions.sequence, np.arange(count + 1))
    parts = []
    for place, name in enumerate(predictions.sequence_names):
        rows = slice(int(edges[place]), int(edges[place + 1]))
        columns = {
            item.name: getattr(predictions, item.name)[rows]
            for item in fields(predictions)
            if isinstance(getattr(predictions, item.name), np.ndarray)
        }
        columns["sequence"] = np.zeros(rows.stop - rows.start, dtype=np.int64)
        parts.append(replace(predictions, sequence_names=(name,), **columns))
    return parts


def only(predictions: Predictions, rows: NDArray[np.int64]) -> Predictions:
    """Some rows, ascending, of the predictions; the people of a frame are numbered anew."""
    sequence, frame = predictions.sequence[rows], predictions.frame[rows]
    whole = predictions.whole_numbers
    return replace(
        predictions,
        sequence=sequence,
        frame=frame,
        person=person_numbers(sequence, frame),
        track_ids=predictions.track_ids[rows],
        boxes=predictions.boxes[rows],
        box_scores=predictions.box_scores[rows],
        joints=predictions.joints[rows],
        scores=predictions.scores[rows],
        present=predictions.present[rows],
        whole_numbers=None if whole is None else whole[rows],
    )


def truth_as_predictions(dataset: DataSet) -> Predictions:
    """The annotated people as predictions of score 1, for checks: what a perfect method would hand in."""
    truths = [sequence.truth for sequence in dataset.sequences]
    kept = [truth.has_points for truth in truths]

    def column(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(truth, name)[rows] for truth, rows in zip(truths, kept, strict=True)])

    sequence = np.repeat(np.arange(len(truths)), [int(rows.sum()) for rows in kept])
    frame, present = column("frame").astype(np.int64), column("annotated").astype(bool)
    return Predictions(
        sequence_names=tuple(sequence.name for sequence in dataset.sequences),
        sequence=sequence,
        frame=frame,
        person=person_numbers(sequence, frame),
        track_ids=column("track_ids").astype(np.int64),
        boxes=column("boxes"),
        box_scores=np.ones(len(frame)),
        joints=np.where(present[:, :, None], column("joints"), 0.0),
        scores=np.where(present, 1.0, np.nan),
        present=present,
        skeleton=dataset.skeleton,
    )
