"""How predictions move: over people that stay matched from frame to frame, in head sizes of the truth.

With the error e(t) = prediction minus truth of a joint of one true track, in consecutive frames:

* `accel_error_head`: mean length of e(t-1) - 2 e(t) + e(t+1), the error of the acceleration; `accel_error_px` in px;
* `jitter_head`: mean length of e(t) - e(t-1), how much the error shakes;
* `lag_frames`: by how many frames predictions trail the motion, the least-squares lag -sum(e v) / sum(v v) with the
  true velocity v(t) = (x(t+1) - x(t-1)) / 2; negative when they run ahead;
* `flicker`: percent of consecutive frame pairs in which a joint changes between found (within half a head) and not
  found, unmatched people counting as not found.

`n_truth` is the number of triples or pairs of frames. Not to be confused with the spatial class "jitter" of diagnosis.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, Sequence
from harness.errors import DataError
from harness.predictions import Predictions
from harness.scoring.cleaning import poseval_scene
from harness.scoring.matching import MatchTable, match
from harness.scoring.poseval import check_not_empty, facts_of
from harness.scoring.ragged import Integers, sums_by_group
from harness.scoring.scores import Score, Scores, joint_rows

__all__ = ["NAME", "TemporalCounts", "count_temporal", "score_temporal", "temporal_values"]

NAME = "temporal"


@dataclass(frozen=True)
class TemporalCounts:
    """Sums by sequence and joint, (S,15) each; rows can be added up freely."""

    triples: Integers
    acceleration: NDArray[np.float64]
    acceleration_px: NDArray[np.float64]
    along_motion: NDArray[np.float64]
    motion: NDArray[np.float64]
    pairs: Integers
    shake: NDArray[np.float64]
    transitions: Integers
    changes: Integers


def count_temporal(table: MatchTable, sequences: Series[Sequence]) -> TemporalCounts:
    """Sums over the true tracks of a match table; raises DataError where a truth person has no track id."""
    order, linked = _links(table, sequences)
    both = linked[:-1] & linked[1:]
    before, at, after = order[:-2][both], order[1:-1][both], order[2:][both]
    first, second = order[:-1][linked], order[1:][linked]
    truth = np.stack([table.scene.truth.x, table.scene.truth.y], axis=2)
    error = _predicted(table) - truth
    second_difference = error[before] - 2 * error[at] + error[after]
    velocity = (truth[after] - truth[before]) / 2
    head = table.scene.head
    bent = _length(second_difference)
    shaken = _length(error[second] - error[first]) / head[second, None]
    known = np.isfinite(bent) & (head[at] > 0)[:, None]
    known_pair = np.isfinite(shaken) & (head[second] > 0)[:, None]
    present = table.scene.truth.present
    found = _found(table)
    held = present[first] & present[second]
    return TemporalCounts(
        triples=_totals(table, at, known).astype(np.int64),
        acceleration=_totals(table, at, np.where(known, bent / head[at, None], 0.0)),
        acceleration_px=_totals(table, at, np.where(known, bent, 0.0)),
        along_motion=_totals(table, at, np.where(known, -(error[at] * velocity).sum(axis=2), 0.0)),
        motion=_totals(table, at, np.where(known, (velocity * velocity).sum(axis=2), 0.0)),
        pairs=_totals(table, second, known_pair).astype(np.int64),
        shake=_totals(table, second, np.where(known_pair, shaken, 0.0)),
        transitions=_totals(table, second, held).astype(np.int64),
        changes=_totals(table, second, held & (found[first] != found[second])).astype(np.int64),
    )


def temporal_values(
    counts: TemporalCounts, *, rows: Integers | slice = slice(None)
) -> dict[str, tuple[NDArray[np.float64], Integers]]:
    """Metric -> (values, how many frames they rest on), (16,) each: per joint, then all joints pooled."""

    def column(values: NDArray[np.float64] | Integers) -> NDArray[np.float64]:
        joints = values[rows].sum(axis=0).astype(np.float64)
        return np.append(joints, joints.sum())

    triples, pairs, transitions = (column(values) for values in (counts.triples, counts.pairs, counts.transitions))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "accel_error_head": (column(counts.acceleration) / triples, triples),
            "accel_error_px": (column(counts.acceleration_px) / triples, triples),
            "jitter_head": (column(counts.shake) / pairs, pairs),
            "lag_frames": (column(counts.along_motion) / column(counts.motion), triples),
            "flicker": (100 * column(counts.changes) / transitions, transitions),
        }
    return {name: (values, number.astype(np.int64)) for name, (values, number) in found.items()}


def score_temporal(
    sequences: Series[Sequence],
    predictions: Predictions,
    *,
    compat: str = "official",
    per_sequence: bool = False,
    tracking: bool | None = None,
) -> Scores:
    """Temporal metrics under poseval's clean-up and matching."""
    table = match(poseval_scene(sequences, predictions, compat=compat))
    check_not_empty(table.scene)
    counts = count_temporal(table, sequences)
    entries = _rows("all", counts, slice(None))
    for number in np.unique(table.scene.frame_sequence).tolist() if per_sequence else []:
        entries += _rows(f"sequence:{table.scene.sequence_names[number]}", counts, np.array([number]))
    warnings = table.scene.warnings
    if not counts.triples.any():
        warnings += ("no joint was followed over three consecutive labelled frames; temporal errors are undefined",)
    return Scores(tuple(entries), warnings, facts_of(table, compat))


def _rows(name: str, counts: TemporalCounts, rows: Integers | slice) -> list[Score]:
    return [
        row
        for metric, (values, number) in temporal_values(counts, rows=rows).items()
        for row in joint_rows(NAME, metric, name, values, n_truth=number, n_predicted=number)
    ]


def _links(table: MatchTable, sequences: Series[Sequence]) -> tuple[Integers, NDArray[np.bool_]]:
    """(order, linked): truth rows by track and time, and (G-1,) whether a row's successor is its very next frame."""
    people = table.scene.truth
    if (people.track_ids == NO_TRACK).any():
        frame = people.frame[np.argmax(people.track_ids == NO_TRACK)]
        name = table.scene.sequence_names[table.scene.frame_sequence[frame]]
        raise DataError(
            f"sequence {name}: the truth has people without track id; temporal metrics need one for everybody"
        )
    index = [np.array([frame.index for frame in sequence.frames], dtype=np.int64) for sequence in sequences]
    starts = np.cumsum([0, *(len(numbers) for numbers in index)])[:-1]
    place = starts[table.truth_sequence] + table.truth_frame
    time = np.concatenate(index)[place] if len(place) else place
    order = np.lexsort((time, people.track_ids, table.truth_sequence))
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in (table.truth_sequence, people.track_ids):
        same &= key[order][1:] == key[order][:-1]
    return order, same & (np.diff(time[order]) == 1)


def _predicted(table: MatchTable) -> NDArray[np.float64]:
    """(G,15,2) px of the matched prediction's joints, NaN where there is none."""
    points = np.full((*table.scene.truth.x.shape, 2), np.nan)
    matched = np.flatnonzero(table.predicted_of >= 0)
    people = table.predicted_of[matched]
    points[matched] = np.stack([table.scene.predicted.x[people], table.scene.predicted.y[people]], axis=2)
    return points


def _found(table: MatchTable) -> NDArray[np.bool_]:
    """(G,15) whether a truth joint was found."""
    found = np.zeros(table.scene.truth.present.shape, dtype=bool)
    matched = np.flatnonzero(table.predicted_of >= 0)
    found[matched] = table.hit[table.predicted_of[matched]]
    return found


def _length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.sqrt((vectors * vectors).sum(axis=2))
    return length


def _totals(table: MatchTable, rows: Integers, values: NDArray[np.bool_] | NDArray[np.float64]) -> NDArray[np.float64]:
    """(S,15) sums of (n,15) values that belong to truth rows."""
    return sums_by_group(table.truth_sequence[rows], values, len(table.scene.sequence_names))
