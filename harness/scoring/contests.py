"""Which joints CLEAR MOT matches, frame by frame with memory.

Source: specification of poseval, section 6.3. A pair that nobody else competes for is matched whatever the history
says, and those are nearly all: they are settled at once. Only frames with competition are walked in time order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from harness.scoring.gating import JOINTS, Gated, uncontested
from harness.scoring.ragged import Integers, first_of_each
from harness.scoring.scene import People, Scene

__all__ = ["identities", "matched_pairs"]


@dataclass(frozen=True)
class _Contested:
    """The competing pairs as plain lists, by frame and joint, then truth, then prediction.

    `row` in the gated pairs; `track` the true joint's track; `found` the identity of the prediction; `settled_frame`,
    `settled_found` the last uncontested match of the track before (-1 for none).
    """

    row: list[int]
    truth: list[int]
    predicted: list[int]
    track: list[int]
    found: list[int]
    distance: list[float]
    settled_frame: list[int]
    settled_found: list[int]


@dataclass(frozen=True)
class _Settled:
    """The uncontested pairs, in two orders: by track and frame, and by cell (frame x 15 + joint)."""

    gated: Gated
    frame: Integers
    track: Integers
    found: Integers
    by_track: Integers
    keys: Integers
    span: int
    by_cell: Integers
    cells: Integers

    def last(self, track: Integers, frame: Integers) -> tuple[Integers, Integers]:
        """Frame and identity found of the last pair of a track before a frame, -1 for none."""
        if not len(self.keys):
            return np.full(len(track), -1), np.full(len(track), -1)
        before = np.searchsorted(self.keys, track * self.span + frame) - 1
        pair = self.by_track[before]
        known = (before >= 0) & (self.track[pair] == track)
        return np.where(known, self.frame[pair], -1), np.where(known, self.found[pair], -1)

    def in_cell(self, cell: int) -> Integers:
        """The pairs of one frame and joint."""
        first, last = np.searchsorted(self.cells, (cell, cell + 1))
        return self.by_cell[first:last]


@dataclass(frozen=True)
class _Walk:
    """What is walked, with the memory that grows on the way: track -> frame and identity of its last contest won."""

    scene: Scene
    pairs: _Contested
    settled: _Settled
    assignment: str
    memory: dict[int, tuple[int, int]] = field(default_factory=dict)

    def remembered(self, track: int, settled_frame: int, settled_found: int) -> int:
        """The identity a track was last matched to, -1 for none."""
        frame, found = self.memory.get(track, (-1, -1))
        return found if frame > settled_frame else settled_found


def identities(scene: Scene, people: People) -> Integers:
    """(N,) running number of everybody's (sequence, track id)."""
    tracks = np.unique(people.track_ids, return_inverse=True)[1]
    key = scene.frame_sequence[people.frame] * (tracks.max(initial=0) + 1) + tracks
    numbers: Integers = np.unique(key, return_inverse=True)[1]
    return numbers


def matched_pairs(scene: Scene, gated: Gated, assignment: str) -> Gated:
    """The pairs that CLEAR MOT matches, in the order of `gated`; `assignment` "head" or "legacy"."""
    alone = uncontested(gated)
    if alone.all():
        return gated
    cell = scene.truth.frame[gated.truth] * JOINTS + gated.joint
    rows = np.flatnonzero(~alone)
    rows = rows[np.lexsort((gated.predicted[rows], gated.truth[rows], cell[rows]))]
    walk = _prepared(scene, gated, alone, rows, assignment)
    starts = np.flatnonzero(first_of_each(cell[rows]))
    stops = starts + np.diff(starts, append=len(rows))
    won: list[int] = []
    for start, stop, key in zip(starts.tolist(), stops.tolist(), cell[rows[starts]].tolist(), strict=True):
        for place in _decided(walk, key, range(start, stop)):
            walk.memory[walk.pairs.track[place]] = (key // JOINTS, walk.pairs.found[place])
            won.append(walk.pairs.row[place])
    alone[won] = True
    return gated.only(alone)


def _prepared(scene: Scene, gated: Gated, alone: NDArray[np.bool_], rows: Integers, assignment: str) -> _Walk:
    frame = scene.truth.frame[gated.truth]
    found = identities(scene, scene.predicted)[gated.predicted]
    track = identities(scene, scene.truth)[gated.truth] * JOINTS + gated.joint
    pairs = np.flatnonzero(alone)
    span = scene.frame_count
    by_track = pairs[np.argsort(track[pairs] * span + frame[pairs], kind="stable")]
    cell = frame * JOINTS + gated.joint
    by_cell = pairs[np.argsort(cell[pairs], kind="stable")]
    keys = track[by_track] * span + frame[by_track]
    settled = _Settled(gated, frame, track, found, by_track, keys, span, by_cell, cell[by_cell])
    settled_frame, settled_found = settled.last(track[rows], frame[rows])
    contested = _Contested(
        row=rows.tolist(),
        truth=gated.truth[rows].tolist(),
        predicted=gated.predicted[rows].tolist(),
        track=track[rows].tolist(),
        found=found[rows].tolist(),
        distance=gated.distance[rows].tolist(),
        settled_frame=settled_frame.tolist(),
        settled_found=settled_found.tolist(),
    )
    return _Walk(scene, contested, settled, assignment)


def _decided(walk: _Walk, cell: int, places: range) -> list[int]:
    """Winners of one cell: first those remembered, then the best assignment of the rest."""
    pairs = walk.pairs
    won: list[int] = []
    truths: set[int] = set()
    predictions: set[int] = set()
    for place in places:
        if pairs.truth[place] in truths or pairs.predicted[place] in predictions:
            continue
        known = walk.remembered(pairs.track[place], pairs.settled_frame[place], pairs.settled_found[place])
        if known == pairs.found[place]:
            truths.add(pairs.truth[place])
            predictions.add(pairs.predicted[place])
            won.append(place)
    rest = [place for place in places if pairs.truth[place] not in truths and pairs.predicted[place] not in predictions]
    return won + _assigned(walk, cell, places, rest) if rest else won


def _assigned(walk: _Walk, cell: int, places: range, rest: list[int]) -> list[int]:
    """The best assignment of the rest; where one side is a single joint that is the nearest."""
    pairs = walk.pairs
    costs = [pairs.distance[place] for place in rest]
    nearest = min(costs)
    single = len({pairs.truth[place] for place in rest}) == 1 or len({pairs.predicted[place] for place in rest}) == 1
    if single and costs.count(nearest) == 1:
        return [rest[costs.index(nearest)]]
    return _solved(walk, cell, max(pairs.distance[place] for place in places), rest)


def _solved(walk: _Walk, cell: int, largest: float, rest: list[int]) -> list[int]:
    """The assignment as motmetrics poses it, over everybody in the frame, so that equal costs fall the same way."""
    truths, predictions = (_holders(side, *divmod(cell, JOINTS)) for side in (walk.scene.truth, walk.scene.predicted))
    cost = np.full((len(truths), len(predictions)), np.nan)
    chosen = {}
    for place in rest:
        entry = truths.index(walk.pairs.truth[place]), predictions.index(walk.pairs.predicted[place])
        cost[entry], chosen[entry] = walk.pairs.distance[place], place
    settled, gated = walk.settled, walk.settled.gated
    others = settled.in_cell(cell)
    histories = (side.tolist() for side in settled.last(settled.track[others], settled.frame[others]))
    for pair, *history in zip(others.tolist(), *histories, strict=True):
        largest = max(largest, float(gated.distance[pair]))
        if walk.remembered(int(settled.track[pair]), *history) != settled.found[pair]:
            cost[truths.index(gated.truth[pair]), predictions.index(gated.predicted[pair])] = gated.distance[pair]
    enough = 2 * min(cost.shape) * (np.nanmax(cost) + 1) + 1
    forbidden = 2 * largest + 1 if walk.assignment == "legacy" else enough
    entries = linear_sum_assignment(np.where(np.isnan(cost), forbidden, cost))
    won = zip(*(side.tolist() for side in entries), strict=True)
    return [chosen[entry] for entry in won if entry in chosen]


def _holders(people: People, frame: int, joint: int) -> list[int]:
    """Rows of the people of a frame who have a joint."""
    start, stop = np.searchsorted(people.frame, (frame, frame + 1)).tolist()
    rows: list[int] = (start + np.flatnonzero(people.present[start:stop, joint])).tolist()
    return rows
