"""Matching people frame by frame by PCKh, once; everything else reads the match table.

Source: specification of poseval, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.scoring.ragged import Integers, blocks, counts_and_starts, first_of_each, pairs_within, sums_by_group
from harness.scoring.scene import Scene

__all__ = ["GATE", "JointEvents", "MatchTable", "distances", "match", "pair_blocks"]

#: A joint is found within this many head sizes (inclusive).
GATE = 0.5

#: Pairs handled at a time: their distances (15 doubles each) stay in the processor's cache.
BLOCK = 4096


@dataclass(frozen=True)
class JointEvents:
    """The match table in its long form: one row per predicted joint, by frame, then person, then joint.

    `sequence`, `frame` (position in `Sequence.frames`), `joint` (POSETRACK15 index), `row` (in `Predictions`), `score`,
    `hit`, `distance` in head sizes, `truth_row` (in `Sequence.truth`, -1 for a person matched to nobody).
    """

    sequence: Integers
    frame: Integers
    joint: Integers
    row: Integers
    score: NDArray[np.float64]
    hit: NDArray[np.bool_]
    distance: NDArray[np.float64]
    truth_row: Integers


@dataclass(frozen=True)
class MatchTable:
    """Who was matched to whom: one row per person on either side, one column per joint (POSETRACK15 order).

    A cell of the predicted side where `predicted.present` is True is one scored event. Row order is part of the
    contract, because it decides ties: sequences as given, frames ascending, people as in the file.

    `scene` holds both sides; `truth_of` (P,) row in `scene.truth` of the person matched to, -1 for none; `predicted_of`
    (G,) the reverse; `hit` (P,15) the joint lies within `GATE` head sizes of its truth; `distance` (P,15) in head
    sizes, NaN where the person is unmatched or either side lacks the joint.

    For slices: pick truth cells with a (G,15) mask over `scene.truth` (`scene.truth.row` leads to `Sequence.truth`,
    `truth_frame` to the frame), carry it to the predicted side with `on_predictions`, treat unmatched people
    (`truth_of` == -1) by the slice's own rule, and hand `counted(table, keep=..., truth_keep=...)` of
    `average_precision.py` the two masks. For a bootstrap: `predicted_sequence` and `truth_sequence` are the cluster of
    every row.
    """

    scene: Scene
    truth_of: Integers
    predicted_of: Integers
    hit: NDArray[np.bool_]
    distance: NDArray[np.float64]

    @cached_property
    def predicted_sequence(self) -> Integers:
        """(P,) index into `scene.sequence_names`."""
        sequence: Integers = self.scene.frame_sequence[self.scene.predicted.frame]
        return sequence

    @cached_property
    def truth_sequence(self) -> Integers:
        """(G,) index into `scene.sequence_names`."""
        sequence: Integers = self.scene.frame_sequence[self.scene.truth.frame]
        return sequence

    @cached_property
    def truth_by_sequence(self) -> Integers:
        """(S,15) true joints of every sequence."""
        total = sums_by_group(self.truth_sequence, self.scene.truth.present, len(self.scene.sequence_names))
        return total.astype(np.int64)

    @cached_property
    def truth_frame(self) -> Integers:
        """(G,) position in `Sequence.frames` of every truth person."""
        position: Integers = self.scene.frame_position[self.scene.truth.frame]
        return position

    def on_predictions(self, truth_values: NDArray[Any], *, unmatched: object) -> NDArray[Any]:
        """(P,...) the value of the matched truth person, `unmatched` where there is none; `truth_values` (G,...)."""
        values = np.full((len(self.truth_of), *truth_values.shape[1:]), unmatched, dtype=truth_values.dtype)
        matched = self.truth_of >= 0
        values[matched] = truth_values[self.truth_of[matched]]
        return values

    def events(self) -> JointEvents:
        """The long form, for reading and for export."""
        person, joint = np.nonzero(self.scene.predicted.present)
        frame = self.scene.predicted.frame[person]
        matched = self.truth_of[person]
        return JointEvents(
            sequence=self.scene.frame_sequence[frame],
            frame=self.scene.frame_position[frame],
            joint=joint,
            row=self.scene.predicted.row[person],
            score=self.scene.scores[person, joint],
            hit=self.hit[person, joint],
            distance=self.distance[person, joint],
            truth_row=np.where(matched >= 0, self.scene.truth.row[matched] if len(self.scene.truth) else -1, -1),
        )


def distances(scene: Scene, predicted: Integers, truth: Integers) -> NDArray[np.float64]:
    """(n,15) distance in head sizes of the pairs (predicted[i], truth[i]); NaN where either side lacks the joint."""
    with np.errstate(all="ignore"):
        dx = scene.predicted.x[predicted]
        dx -= scene.truth.x[truth]
        dy = scene.predicted.y[predicted]
        dy -= scene.truth.y[truth]
        dx *= dx
        dy *= dy
        dx += dy
        np.sqrt(dx, out=dx)
        dx /= scene.head[truth, None]
    return dx


def match(scene: Scene) -> MatchTable:
    """Assign predictions to truth people in every frame and label their joints.

    A prediction keeps only the truth person with the largest share of joints within `GATE` (the first on ties); a truth
    person then takes the prediction with the largest share (the first on ties); shares of 0 match nobody. Scores play
    no role.
    """
    truth, predicted = scene.truth, scene.predicted
    truth_of = np.full(len(predicted), -1, dtype=np.int64)
    predicted_of = np.full(len(truth), -1, dtype=np.int64)
    hit = np.zeros(predicted.present.shape, dtype=bool)
    distance = np.full(predicted.present.shape, np.nan)
    joint_counts = np.maximum(truth.present.sum(axis=1), 1)
    for left, right in pair_blocks(scene):
        apart = distances(scene, left, right)
        within = apart <= GATE
        share = _count(within) / joint_counts[right]
        pair = _winners(left, right, share)
        people = left[pair]
        truth_of[people] = right[pair]
        predicted_of[right[pair]] = people
        hit[people] = within[pair]
        distance[people] = apart[pair]
    return MatchTable(scene, truth_of, predicted_of, hit, distance)


def pair_blocks(scene: Scene) -> Iterator[tuple[Integers, Integers]]:
    """Pairs (row predicted, row truth) within every frame, predictions outermost, in blocks of whole frames."""
    truth_counts, truth_starts = counts_and_starts(scene.truth.frame, scene.frame_count)
    counts, starts = counts_and_starts(scene.predicted.frame, scene.frame_count)
    for first, last in blocks(counts * truth_counts, BLOCK):
        people = slice(starts[first], starts[last - 1] + counts[last - 1])
        frame = scene.predicted.frame[people]
        left, right = pairs_within(truth_counts[frame], truth_starts[frame])
        yield left + people.start, right


def _count(within: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(n,) how many joints of a row; einsum sums short rows many times faster than sum does."""
    counts: NDArray[np.uint8] = np.einsum("ij->i", within.view(np.uint8))
    return counts


def _winners(left: Integers, right: Integers, share: NDArray[np.float64]) -> Integers:
    """Indices of the pairs that are matched; `left` ascending, `right` ascending within one left."""
    if not len(left):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(first_of_each(left))
    largest = np.repeat(np.maximum.reduceat(share, starts), np.diff(starts, append=len(left)))
    wished = np.flatnonzero((share == largest) & (share > 0))
    wished = wished[first_of_each(left[wished])]
    order = wished[np.lexsort((-share[wished], right[wished]))]
    winners: Integers = order[first_of_each(right[order])]
    return winners
