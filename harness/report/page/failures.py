"""Where two runs differ most, or where one fails worst: stretches of a joint of one person, the largest first.

A failure is a run of consecutive frames of one track in which a joint is found by one of two runs and not by the other
(with a single run: in which it is not found). Its weight is the sum over its frames of how much farther off the wrong
run is, in head sizes, a joint counting at most `FAR`: a joint that is not there at all counts as that far.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import Truth
from harness.scoring.error_classes import GOOD, UNLABELLED, pckh_classes
from harness.scoring.failure_runs import KINDS, failure_runs
from harness.scoring.matched import Matched
from harness.scoring.ragged import Integers
from harness.scoring.slices import Assigned, Footage, assign_all
from harness.scoring.slices.occlusion import run_numbers

__all__ = ["FAR", "Cells", "Failure", "cells_of", "find_failures"]

#: Head sizes beyond which a joint is no more wrong than any other.
FAR = 2.0


@dataclass(frozen=True, eq=False)
class Cells:
    """Every truth joint of the data set, sequences laid end to end: its outcome in one run and in which slices it is.

    `starts` (S+1,) first row of every sequence; `codes` (N,15) of `error_classes.CLASSES`, -1 where not scored; `off`
    (N,15) head sizes, at most `FAR`; `kinds` (N,15) position in `KINDS`, -1 for none.
    """

    starts: Integers
    codes: NDArray[np.int64]
    off: NDArray[np.float64]
    kinds: NDArray[np.int64]


@dataclass(frozen=True)
class Failure:
    """One stretch of a joint of one person.

    `sequence` (number), `track` and `rows` (among all truth people) of the person, `joint`; `first`, `last` and `worst`
    (positions in `Sequence.frames`); `wrong` the run that fails, by how much in all (`weight`); `codes` of its errors,
    `outcome` the one at the worst frame, `kind` (position in `KINDS`, -1 for none); `bins`, labels of its slices.
    """

    sequence: int
    track: int
    joint: int
    first: int
    last: int
    worst: int
    wrong: int
    weight: float
    rows: tuple[int, ...]
    codes: tuple[int, ...]
    outcome: int
    kind: int
    bins: tuple[str, ...] = ()


def find_failures(
    matched: Series[Matched], cells: Series[Cells], *, limit: int, slices: Series[str] = ()
) -> tuple[list[Failure], int]:
    """The `limit` heaviest failures of one run or between two, with their slices, and how many there are in all."""
    found = [failure for wrong in range(len(cells)) for failure in _stretches(matched, cells, wrong)]
    found.sort(key=lambda failure: (-failure.weight, failure.sequence, failure.first, failure.joint, failure.track))
    assigned, _ = assign_all(slices, matched[0])
    bins = [(part, _spread(matched[0], part)) for part in assigned]
    return [_with_bins(failure, bins) for failure in found[:limit]], len(found)


def cells_of(matched: Matched) -> Cells:
    """What became of every truth joint of a run."""
    starts = np.cumsum([0, *(len(sequence.truth) for sequence in matched.sequences)])
    shape = (int(starts[-1]), matched.table.scene.truth.present.shape[1])
    codes, off, kinds = np.full(shape, UNLABELLED), np.full(shape, FAR), np.full(shape, -1)
    own = pckh_classes(matched)
    codes[matched.truth_rows] = own
    people = matched.table.predicted_of
    known = people >= 0
    distance = matched.table.distance[people[known]]
    off[matched.truth_rows[known]] = np.minimum(np.where(np.isnan(distance), FAR, distance), FAR)
    _mark_kinds(kinds, matched, own, starts)
    return Cells(starts, codes, off, kinds)


def _mark_kinds(kinds: NDArray[np.int64], matched: Matched, codes: NDArray[np.int64], starts: Integers) -> None:
    """Write into every cell of a failure run what kind of run it is."""
    runs = failure_runs(matched, codes)
    place: dict[tuple[int, int, int], int] = {}
    for number, sequence in enumerate(matched.sequences):
        truth = sequence.truth
        for row, (frame, track) in enumerate(zip(truth.frame.tolist(), truth.track_ids.tolist(), strict=True)):
            place.setdefault((number, track, frame), int(starts[number]) + row)
    columns = (runs.sequence, runs.track, runs.joint, runs.first, runs.last, runs.kind)
    for number, track, joint, first, last, kind in zip(*(column.tolist() for column in columns), strict=True):
        for frame in range(first, last + 1):
            if (found := place.get((number, track, frame))) is not None:
                kinds[found, joint] = kind


def _stretches(matched: Series[Matched], cells: Series[Cells], wrong: int) -> list[Failure]:
    bad = (cells[wrong].codes != GOOD) & (cells[wrong].codes != UNLABELLED)
    weight = cells[wrong].off
    if len(cells) == 2:
        bad &= cells[1 - wrong].codes == GOOD
        weight = weight - cells[1 - wrong].off
    found = []
    for number, sequence in enumerate(matched[wrong].sequences):
        rows = slice(int(cells[wrong].starts[number]), int(cells[wrong].starts[number + 1]))
        numbers = run_numbers(Footage(sequence), bad[rows])
        people, joints = np.nonzero(bad[rows])
        keys = numbers[people, joints]
        keys = np.where(keys < 0, keys.max(initial=0) + 1 + np.arange(len(keys)), keys)  # nobody's track: alone
        order = np.lexsort((sequence.truth.frame[people], keys))
        people, joints = people[order], joints[order]
        for part in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(keys[order])) + 1):
            if len(part):
                found.append(_failure(number, sequence.truth, people[part], int(joints[part[0]]), cells[wrong],
                                      weight, wrong))  # fmt: skip
    return found


def _failure(
    number: int, truth: Truth, people: Integers, joint: int, cells: Cells, weight: NDArray[np.float64], wrong: int
) -> Failure:
    rows = people + int(cells.starts[number])
    frame: Integers = truth.frame[people]
    own = weight[rows, joint]
    kinds = cells.kinds[rows, joint]
    known = kinds[kinds >= 0]
    return Failure(
        sequence=number, track=int(truth.track_ids[people[0]]), joint=joint,
        first=int(frame[0]), last=int(frame[-1]), worst=int(frame[np.argmax(own)]), wrong=wrong,
        weight=round(float(own.sum()), 2), rows=tuple(rows.tolist()),
        codes=tuple(np.unique(cells.codes[rows, joint]).tolist()),
        outcome=int(cells.codes[rows, joint][np.argmax(own)]),
        kind=int(np.bincount(known, minlength=len(KINDS)).argmax()) if len(known) else -1,
    )  # fmt: skip


def _spread(matched: Matched, part: Assigned) -> NDArray[np.int64]:
    """(N,15) bins of every truth person of the data set, -1 where unknown or not scored."""
    count = sum(len(sequence.truth) for sequence in matched.sequences)
    spread = np.full((count, part.cells.shape[1]), -1)
    spread[matched.truth_rows] = part.cells
    return spread


def _with_bins(failure: Failure, bins: Series[tuple[Assigned, NDArray[np.int64]]]) -> Failure:
    labels = tuple(
        part.label(number)
        for part, spread in bins
        for number in np.unique(spread[list(failure.rows), failure.joint]).tolist()
        if number >= 0
    )
    return replace(failure, bins=labels)
