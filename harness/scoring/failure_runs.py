"""How failures of a joint follow each other in time: isolated, short, long, flicker, swaps, inversions, lag, dropout.

A run is a stretch of consecutive labelled frames of one track in which a joint is not found. Its kind is the first that
fits:

    swap       2 frames or more, most of them on another person
    inversion  2 frames or more, most of them on the opposite joint
    lag        most of its predictions lie where the joint was 1 to 3 frames earlier
    dropout    in most of its frames the joint or the person is not predicted at all
    flicker    1 or 2 frames, and 1 to 3 good frames away the joint fails again
    isolated   1 frame
    short      2 to 4 frames
    long       more

These kinds are this project's. Runs are cut by the ends of the sequence and by frames without label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scoring.error_classes import ABSENT, GOOD, INVERSION, SWAP, UNDETECTED, UNLABELLED
from harness.scoring.matched import Matched
from harness.scoring.matching import GATE
from harness.scoring.ragged import Integers
from harness.scoring.slices.footage import Footage
from harness.scoring.slices.occlusion import SHORT_RUN, run_numbers

__all__ = ["KINDS", "FailureRuns", "failure_runs"]

KINDS = ("swap", "inversion", "lag", "dropout", "flicker", "isolated", "short", "long")

#: How many frames back a lagging prediction may point, and how many good frames a flicker may hold.
REACH = 3


@dataclass(frozen=True)
class FailureRuns:
    """One row per run: `sequence` (number), `track` id, `joint`, `first` and `last` (positions in `Sequence.frames`),
    `length` in frames, `kind` (position in `KINDS`). `judged` (15,) joint-frames that have a labelled neighbour in
    time, which is what runs are looked for in.
    """

    sequence: Integers
    track: Integers
    joint: Integers
    first: Integers
    last: Integers
    length: Integers
    kind: Integers
    judged: Integers

    def __len__(self) -> int:
        return len(self.sequence)


def failure_runs(matched: Matched, classes: NDArray[np.int64]) -> FailureRuns:
    """The runs of a matched run; `classes` (G,15) as `pckh_classes` gives them."""
    starts = np.cumsum([0, *(len(sequence.truth) for sequence in matched.sequences)])
    everyone = np.full((starts[-1], classes.shape[1]), UNLABELLED)
    everyone[matched.truth_rows] = classes
    lagging = np.zeros(everyone.shape, dtype=bool)
    lagging[matched.truth_rows] = _lagging(matched, classes)
    parts, judged = [], np.zeros(classes.shape[1], dtype=np.int64)
    for number, sequence in enumerate(matched.sequences):
        rows = slice(starts[number], starts[number + 1])
        footage = Footage(sequence)
        known = _judged(footage, everyone[rows] != UNLABELLED)
        judged += known.sum(axis=0)
        parts.append(_runs(footage, number, np.where(known, everyone[rows], UNLABELLED), lagging[rows]))
    sequence, track, joint, first, last, length, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
    return FailureRuns(sequence, track, joint, first, last, length, kind, judged)


def _judged(footage: Footage, labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return labelled & (_at(footage, labelled, -1) | _at(footage, labelled, 1))


def _runs(footage: Footage, number: int, codes: NDArray[np.int64], lagging: NDArray[np.bool_]) -> tuple[Integers, ...]:
    """(sequence, track, joint, first, last, length, kind) of the runs of one sequence."""
    failed = (codes != UNLABELLED) & (codes != GOOD)
    run = run_numbers(footage, failed)
    rows, joints = np.nonzero(run >= 0)
    numbers, places = np.unique(run[rows, joints], return_inverse=True)
    count = len(numbers)
    length = np.bincount(places, minlength=count)
    code = codes[rows, joints]
    again = _fails_again(footage, failed, codes == GOOD)[rows, joints]

    def most(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return 2 * np.bincount(places, weights=mask, minlength=count) > length

    several = length >= 2
    kind = np.select(
        [
            several & most(code == SWAP),
            several & most(code == INVERSION),
            most(lagging[rows, joints]),
            most((code == ABSENT) | (code == UNDETECTED)),
            (length <= 2) & (np.bincount(places, weights=again, minlength=count) > 0),
            length == 1,
            length <= SHORT_RUN,
        ],
        list(range(len(KINDS) - 1)),
        default=len(KINDS) - 1,
    )
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, -1)
    np.minimum.at(first, places, footage.frame[rows])
    np.maximum.at(last, places, footage.frame[rows])
    track, joint = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    track[places], joint[places] = footage.sequence.truth.track_ids[rows], joints
    return np.full(count, number), track, joint, first, last, length, kind


def _at(footage: Footage, state: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """(N,15) the state of the same joint `step` frames later; False where it is not labelled."""
    other = footage.neighbour(step)
    there: NDArray[np.bool_] = (other >= 0)[:, None] & state[other]
    return there


def _fails_again(footage: Footage, failed: NDArray[np.bool_], good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,15) whether 1 to `REACH` good frames lie between here and another failure, before or after."""
    again = np.zeros(failed.shape, dtype=bool)
    for direction in (-1, 1):
        between = np.ones(failed.shape, dtype=bool)
        for gap in range(1, REACH + 1):
            between &= _at(footage, good, direction * gap)
            again |= between & _at(footage, failed, direction * (gap + 1))
    return again


def _lagging(matched: Matched, classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(G,15) failed joints predicted within the gate of where they were 1 to `REACH` frames earlier."""
    scene, table = matched.table.scene, matched.table
    starts = np.cumsum([0, *(len(sequence.truth) for sequence in matched.sequences)])
    before = {step: np.full(starts[-1], -1) for step in range(1, REACH + 1)}
    for number, sequence in enumerate(matched.sequences):
        footage = Footage(sequence)
        for step, rows in before.items():
            earlier = footage.neighbour(-step)
            rows[starts[number] : starts[number + 1]] = np.where(earlier >= 0, earlier + starts[number], -1)
    scene_row = np.full(starts[-1] + 1, -1)
    scene_row[matched.truth_rows] = np.arange(len(scene.truth))
    lagging = np.zeros(classes.shape, dtype=bool)
    for rows in before.values():
        earlier = scene_row[rows[matched.truth_rows]]
        kept = np.flatnonzero((earlier >= 0) & (table.predicted_of >= 0))
        people = table.predicted_of[kept]
        with np.errstate(all="ignore"):
            apart = np.hypot(
                scene.predicted.x[people] - scene.truth.x[earlier[kept]],
                scene.predicted.y[people] - scene.truth.y[earlier[kept]],
            )
            lagging[kept] |= apart <= GATE * scene.head[kept, None]
    return lagging & (classes > GOOD)
