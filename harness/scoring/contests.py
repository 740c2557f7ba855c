"""Which joints CLEAR MOT matches, frame by frame with memory.

Source: specification of poseval, section 6.3. A pair that nobody else competes for is matched whatever the history
says, and those are nearly all: they are settled at once. Only frames with competition are walked in time order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from harness.scoring.gating import JOINTS, Gated, uncontested
from harness.scoring.ragged import Integers, first_of_each
from harness.scoring.scene import People, Scene

__all__ = ["identities", "matched_pairs"]


def identities(scene: Scene, people: People) -> Integers:
    """(N,) running number of everybody's (sequence, track id)."""
    tracks = np.unique(people.track_ids, return_inverse=True)[1]
    key = scene.frame_sequence[people.frame] * (tracks.max(initial=0) + 1) + tracks
    numbers: Integers = np.unique(key, return_inverse=True)[1]
    return numbers


def matched_pairs(scene: Scene, gated: Gated, assignment: str) -> Gated:
    """The pairs that CLEAR MOT matches, in the order of `gated`."""
    alone = uncontested(gated)
    if alone.all():
        return gated
    contest = _Contest(scene, gated, alone, assignment)
    return gated.only(np.sort(np.concatenate([np.flatnonzero(alone), contest.winners()])))


class _Contest:
    """Frames and joints in which several pairs compete, walked in time order with the memory CLEAR MOT keeps."""

    def __init__(self, scene: Scene, gated: Gated, alone: NDArray[np.bool_], assignment: str) -> None:
        self.scene, self.gated, self.assignment = scene, gated, assignment
        self.frame = scene.truth.frame[gated.truth]
        self.hypothesis = identities(scene, scene.predicted)[gated.predicted]
        self.track = identities(scene, scene.truth)[gated.truth] * JOINTS + gated.joint
        self.alone = alone
        self.memory: dict[int, tuple[int, int]] = {}

    def winners(self) -> Integers:
        """Indices into `gated` of the pairs that win."""
        rows = np.flatnonzero(~self.alone)
        rows = rows[np.lexsort((self.gated.predicted[rows], self.gated.truth[rows], self._cell(rows)))]
        cells = self._cell(rows)
        settled_frame, settled_hypothesis = self._settled(rows)
        table = zip(
            rows.tolist(),
            self.gated.truth[rows].tolist(),
            self.gated.predicted[rows].tolist(),
            self.hypothesis[rows].tolist(),
            self.track[rows].tolist(),
            self.gated.distance[rows].tolist(),
            settled_frame.tolist(),
            settled_hypothesis.tolist(),
            strict=True,
        )
        pairs = [_Pair(*values) for values in table]
        starts = np.flatnonzero(first_of_each(cells)).tolist()
        frames = self.frame[rows].tolist()
        won: list[int] = []
        for start, stop in zip(starts, [*starts[1:], len(pairs)], strict=True):
            for pair in self._decide(pairs[start:stop]):
                self.memory[pair.track] = (frames[start], pair.hypothesis)
                won.append(pair.row)
        return np.array(won, dtype=np.int64)

    def _cell(self, rows: Integers) -> Integers:
        return self.frame[rows] * JOINTS + self.gated.joint[rows]

    def _settled(self, rows: Integers) -> tuple[Integers, Integers]:
        """Frame and hypothesis of the last uncontested match of every row's truth joint, -1 for none."""
        settled = np.flatnonzero(self.alone)
        span = self.scene.frame_count
        key = self.track[settled] * span + self.frame[settled]
        order = np.argsort(key, kind="stable")
        key, settled = key[order], settled[order]
        before = np.searchsorted(key, self.track[rows] * span + self.frame[rows]) - 1
        if not len(settled):
            return np.full(len(rows), -1), np.full(len(rows), -1)
        known = (before >= 0) & (self.track[settled[before]] == self.track[rows])
        return (
            np.where(known, self.frame[settled[before]], -1),
            np.where(known, self.hypothesis[settled[before]], -1),
        )

    def _remembered(self, pair: _Pair) -> int:
        frame, hypothesis = self.memory.get(pair.track, (-1, -1))
        return hypothesis if frame > pair.settled_frame else pair.settled_hypothesis

    def _decide(self, pairs: list[_Pair]) -> Iterator[_Pair]:
        """Winners of one frame and joint: first whom the truth remembers, then the best assignment of the rest."""
        truths: set[int] = set()
        predictions: set[int] = set()
        for pair in pairs:
            if pair.truth in truths or pair.predicted in predictions:
                continue
            if self._remembered(pair) == pair.hypothesis:
                truths.add(pair.truth)
                predictions.add(pair.predicted)
                yield pair
        rest = [pair for pair in pairs if pair.truth not in truths and pair.predicted not in predictions]
        if rest:
            yield from self._assign(rest, pairs)

    def _assign(self, rest: list[_Pair], pairs: list[_Pair]) -> Iterator[_Pair]:
        costs = [pair.distance for pair in rest]
        star = len({pair.truth for pair in rest}) == 1 or len({pair.predicted for pair in rest}) == 1
        if star and costs.count(min(costs)) == 1:
            yield rest[costs.index(min(costs))]
            return
        yield from self._solved(rest, pairs)

    def _solved(self, rest: list[_Pair], pairs: list[_Pair]) -> Iterator[_Pair]:
        """The assignment as motmetrics poses it: the frame's whole matrix, so that equal costs fall the same way."""
        frame, joint = int(self.frame[rest[0].row]), int(self.gated.joint[rest[0].row])
        truths, predictions = (
            (start + np.flatnonzero(side.present[start:stop, joint])).tolist()
            for side in (self.scene.truth, self.scene.predicted)
            for start, stop in [np.searchsorted(side.frame, (frame, frame + 1)).tolist()]
        )
        cell = {(pair.truth, pair.predicted): pair for pair in rest}
        if self.assignment == "head":
            forbidden = 2 * min(len(truths), len(predictions)) * (max(pair.distance for pair in rest) + 1) + 1
        else:
            forbidden = 2 * max(pair.distance for pair in pairs) + 1
        cost = np.full((len(truths), len(predictions)), forbidden)
        for pair in rest:
            cost[truths.index(pair.truth), predictions.index(pair.predicted)] = pair.distance
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if (truths[row], predictions[column]) in cell:
                yield cell[truths[row], predictions[column]]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One competing pair: row in the gated pairs, who meets whom, and the last uncontested match of the truth joint."""

    row: int
    truth: int
    predicted: int
    hypothesis: int
    track: int
    distance: float
    settled_frame: int
    settled_hypothesis: int
