"""Which joints CLEAR MOT matches, frame by frame with memory.

Source: specification of poseval, section 6.3. A pair that nobody else competes for is matched whatever the history
says, and those are nearly all: they are settled at once. Only frames with competition are walked in time order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    frame: list[int]
    joint: list[int]
    truth: list[int]
    predicted: list[int]
    track: list[int]
    found: list[int]
    distance: list[float]
    settled_frame: list[int]
    settled_found: list[int]


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
    starts = np.flatnonzero(first_of_each(cell[rows]))
    pairs = _contested(scene, gated, alone, rows)
    won: list[int] = []
    memory: dict[int, tuple[int, int]] = {}
    for start, stop in zip(starts.tolist(), (starts + np.diff(starts, append=len(rows))).tolist(), strict=True):
        for place in _decided(scene, pairs, range(start, stop), memory, assignment):
            memory[pairs.track[place]] = (pairs.frame[place], pairs.found[place])
            won.append(pairs.row[place])
    alone[won] = True
    return gated.only(alone)


def _contested(scene: Scene, gated: Gated, alone: NDArray[np.bool_], rows: Integers) -> _Contested:
    frame = scene.truth.frame[gated.truth]
    found = identities(scene, scene.predicted)[gated.predicted]
    track = identities(scene, scene.truth)[gated.truth] * JOINTS + gated.joint
    settled = np.flatnonzero(alone)
    key = track[settled] * scene.frame_count + frame[settled]
    order = np.argsort(key, kind="stable")
    settled = settled[order]
    before = np.searchsorted(key[order], track[rows] * scene.frame_count + frame[rows]) - 1
    last = settled[before] if len(settled) else np.zeros(len(rows), dtype=np.int64)
    known = (before >= 0) & (track[last] == track[rows])
    return _Contested(
        row=rows.tolist(),
        frame=frame[rows].tolist(),
        joint=gated.joint[rows].tolist(),
        truth=gated.truth[rows].tolist(),
        predicted=gated.predicted[rows].tolist(),
        track=track[rows].tolist(),
        found=found[rows].tolist(),
        distance=gated.distance[rows].tolist(),
        settled_frame=np.where(known, frame[last], -1).tolist(),
        settled_found=np.where(known, found[last], -1).tolist(),
    )


def _decided(
    scene: Scene, pairs: _Contested, places: range, memory: dict[int, tuple[int, int]], assignment: str
) -> list[int]:
    """Winners of one frame and joint: first whom the truth remembers, then the best assignment of the rest."""
    won: list[int] = []
    truths: set[int] = set()
    predictions: set[int] = set()
    for place in places:
        if pairs.truth[place] in truths or pairs.predicted[place] in predictions:
            continue
        frame, found = memory.get(pairs.track[place], (-1, -1))
        remembered = found if frame > pairs.settled_frame[place] else pairs.settled_found[place]
        if remembered == pairs.found[place]:
            truths.add(pairs.truth[place])
            predictions.add(pairs.predicted[place])
            won.append(place)
    rest = [place for place in places if pairs.truth[place] not in truths and pairs.predicted[place] not in predictions]
    return won + _assigned(scene, pairs, places, rest, assignment) if rest else won


def _assigned(scene: Scene, pairs: _Contested, places: range, rest: list[int], assignment: str) -> list[int]:
    """The best assignment of the rest; where one side is a single joint that is the nearest."""
    costs = [pairs.distance[place] for place in rest]
    nearest = min(costs)
    single = len({pairs.truth[place] for place in rest}) == 1 or len({pairs.predicted[place] for place in rest}) == 1
    if single and costs.count(nearest) == 1:
        return [rest[costs.index(nearest)]]
    if assignment == "legacy":
        largest = max(pairs.distance[place] for place in places)
        return _solved(scene, pairs, rest, lambda rows, columns: 2 * largest + 1)
    return _solved(scene, pairs, rest, lambda rows, columns: 2 * min(rows, columns) * (max(costs) + 1) + 1)


def _solved(scene: Scene, pairs: _Contested, rest: list[int], forbidden: Callable[[int, int], float]) -> list[int]:
    """The assignment as motmetrics poses it, over everybody in the frame who has the joint."""
    frame, joint = pairs.frame[rest[0]], pairs.joint[rest[0]]
    truths, predictions = (_holders(side, frame, joint) for side in (scene.truth, scene.predicted))
    cost = np.full((len(truths), len(predictions)), forbidden(len(truths), len(predictions)))
    chosen = {(truths.index(pairs.truth[place]), predictions.index(pairs.predicted[place])): place for place in rest}
    for cell, place in chosen.items():
        cost[cell] = pairs.distance[place]
    cells = zip(*(side.tolist() for side in linear_sum_assignment(cost)), strict=True)
    return [chosen[cell] for cell in cells if cell in chosen]


def _holders(people: People, frame: int, joint: int) -> list[int]:
    """Rows of the people of a frame who have a joint."""
    start, stop = np.searchsorted(people.frame, (frame, frame + 1)).tolist()
    rows: list[int] = (start + np.flatnonzero(people.present[start:stop, joint])).tolist()
    return rows
