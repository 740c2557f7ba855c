"""Pose HOTA per joint: how well joints are detected, and how well they are kept apart over time.

Source: specification of poseval, section 10.4 (Luiten et al., IJCV 2021; the kit assigns by plain similarity).
Memory grows with the matches, not with identities x identities x frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from harness.scoring.contests import identities
from harness.scoring.gating import JOINTS, Gated, gated_pairs
from harness.scoring.ragged import Integers, first_of_each, sums_by_group
from harness.scoring.scene import People, Scene

__all__ = ["ALPHAS", "FIELDS", "Hota", "HotaCounts", "count_hota", "hota"]

#: Similarity thresholds 0.05, 0.10 ... 0.95.
ALPHAS = np.arange(0.05, 0.99, 0.05)

#: Similarity falls from 1 at distance 0 to 0 at this many head sizes.
REACH = 0.5001

#: Names of the ratios, in the order the kit prints them.
FIELDS = ("detpr", "detre", "deta", "asspr", "assre", "assa", "loca", "fraga", "hota", "rhota", "fa_hota", "fa_rhota")

_TINY = 1e-10
_COUNTED = ("true_positives", "false_negatives", "false_positives")


@dataclass(frozen=True)
class HotaCounts:
    """By sequence, threshold and joint, the total last: (S,19,16) each.

    Counts of true positives, false negatives and false positives, and the ratios of each sequence that are averaged
    with the true positives as weights.
    """

    true_positives: NDArray[np.float64]
    false_negatives: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    assa: NDArray[np.float64]
    assre: NDArray[np.float64]
    asspr: NDArray[np.float64]
    fraga: NDArray[np.float64]
    loca: NDArray[np.float64]


@dataclass(frozen=True)
class Hota:
    """Fractions by threshold and joint, the total last: (19,16) for each of `FIELDS`."""

    fields: dict[str, NDArray[np.float64]]
    true_positives: NDArray[np.float64]
    false_negatives: NDArray[np.float64]
    false_positives: NDArray[np.float64]

    def mean_over_alphas(self, name: str) -> NDArray[np.float64]:
        """(16,) the reported value of a field."""
        mean: NDArray[np.float64] = self.fields[name].mean(axis=0)
        return mean


@dataclass(frozen=True)
class _Matches:
    """Assigned pairs of joints, by true joint track and then frame.

    `cell` is sequence x 15 + joint; `track` and `found` the running numbers of the true and the predicted joint track;
    `pair` that of their combination; for every combination `pair_cell`, and how many frames hold the true one
    (`pair_true`) and the predicted one (`pair_found`).
    """

    cell: Integers
    track: Integers
    found: Integers
    pair: Integers
    similarity: NDArray[np.float64]
    pair_cell: Integers
    pair_true: Integers
    pair_found: Integers


def count_hota(scene: Scene, *, compat: str = "official") -> HotaCounts:
    """Count every sequence of a scene.

    "official" charges a frame without predictions (or without people) with the joints of its whole sequence, as the
    kit does; "fixed" with its own.
    """
    matches = _matches(scene)
    level = np.searchsorted(ALPHAS - np.finfo(np.float64).eps, matches.similarity, side="right")
    cells = len(scene.sequence_names) * JOINTS
    columns = [_associated(matches, np.flatnonzero(level > number), cells) for number in range(len(ALPHAS))]
    shape = (len(scene.sequence_names), JOINTS)
    table = {name: np.stack([column[name].reshape(shape) for column in columns], axis=1) for name in columns[0]}
    positives = table["true_positives"]
    table["false_negatives"] = _others(scene, scene.truth, scene.predicted, positives, compat)
    table["false_positives"] = _others(scene, scene.predicted, scene.truth, positives, compat)
    return HotaCounts(**{name: _with_total(values, counted=name in _COUNTED) for name, values in table.items()})


def hota(counts: HotaCounts, *, rows: Integers | slice = slice(None), mean_total: bool = False) -> Hota:
    """Combine the chosen sequences as the kit does: counts are summed, association ratios weighted by true positives.

    The total column follows the same way from its own sums, so it is not the mean of the joints; `mean_total` makes it
    that, as the kit does for a single sequence.
    """
    weights = counts.true_positives[rows]
    positives, missed, invented = (
        values[rows].sum(axis=0) for values in (counts.true_positives, counts.false_negatives, counts.false_positives)
    )

    def weighted(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = (values[rows] * weights).sum(axis=0)
        return total

    assa, assre, asspr, fraga = (
        weighted(values) / np.maximum(1, positives)
        for values in (counts.assa, counts.assre, counts.asspr, counts.fraga)
    )
    loca = np.maximum(_TINY, weighted(counts.loca)) / np.maximum(_TINY, positives)
    detre, detpr = positives / np.maximum(1, positives + missed), positives / np.maximum(1, positives + invented)
    deta = positives / np.maximum(1, positives + missed + invented)
    kept = np.sqrt(assa * fraga)
    fields = {
        "detpr": detpr, "detre": detre, "deta": deta, "asspr": asspr, "assre": assre, "assa": assa, "loca": loca,
        "fraga": fraga, "hota": np.sqrt(deta * assa), "rhota": np.sqrt(detre * assa),
        "fa_hota": np.sqrt(deta * kept), "fa_rhota": np.sqrt(detre * kept),
    }  # fmt: skip
    if mean_total:
        fields = {name: _with_total(values[:, :-1], counted=False) for name, values in fields.items()}
    return Hota(fields, positives, missed, invented)


def _associated(matches: _Matches, kept: Integers, cells: int) -> dict[str, NDArray[np.float64]]:
    """Counts and association ratios by cell of the matches at one threshold."""
    pair = matches.pair[kept]
    positives = np.bincount(matches.cell[kept], minlength=cells)
    together = np.bincount(pair, minlength=len(matches.pair_cell))
    either = np.maximum(1, matches.pair_true + matches.pair_found - together)
    starts = np.flatnonzero(first_of_each(matches.track[kept]) | first_of_each(matches.found[kept]))
    run = np.diff(starts, append=len(kept))
    run_pair = pair[starts]

    def ratio(pairs: Integers | slice, squares: Integers, size: Integers) -> NDArray[np.float64]:
        cell = matches.pair_cell[pairs]
        mean: NDArray[np.float64] = np.bincount(cell, squares / size, cells) / np.maximum(1, positives)
        return mean

    everything = slice(None)
    located = np.bincount(matches.cell[kept], weights=matches.similarity[kept], minlength=cells)
    return {
        "true_positives": positives.astype(np.float64),
        "assa": ratio(everything, together * together, either),
        "assre": ratio(everything, together * together, np.maximum(1, matches.pair_true)),
        "asspr": ratio(everything, together * together, np.maximum(1, matches.pair_found)),
        "fraga": ratio(run_pair, run * run, either[run_pair]),
        "loca": np.where(positives > 0, np.maximum(_TINY, located) / np.maximum(_TINY, positives), 1.0),
    }


def _others(
    scene: Scene, side: People, opposite: People, positives: NDArray[np.float64], compat: str
) -> NDArray[np.float64]:
    """(S,19,15) joints of one side that were not matched."""
    sequence = scene.frame_sequence[side.frame]
    total = sums_by_group(sequence, side.present, len(scene.sequence_names))
    left: NDArray[np.float64] = total[:, None, :] - positives
    if compat == "official":
        met = np.bincount(opposite.frame, minlength=scene.frame_count) > 0
        lonely = np.unique(side.frame[~met[side.frame]])
        alone = side.present & ~met[side.frame][:, None]
        own = sums_by_group(sequence, alone, len(total))
        times = np.bincount(scene.frame_sequence[lonely], minlength=len(total))
        whole = np.bincount(scene.frame_sequence[opposite.frame], minlength=len(total)) == 0
        left += np.where(whole[:, None], 0, times[:, None] * total - own)[:, None, :]
    return left


def _with_total(values: NDArray[np.float64], *, counted: bool) -> NDArray[np.float64]:
    total = values.sum(axis=-1, keepdims=True) if counted else values.mean(axis=-1, keepdims=True)
    return np.concatenate([values, total], axis=-1)


def _matches(scene: Scene) -> _Matches:
    gated = gated_pairs(scene, gate=REACH)
    similarity = (-1 / REACH) * gated.distance + 1
    near = np.flatnonzero(similarity > 0)
    gated, similarity = gated.only(near), similarity[near]
    truth_track = identities(scene, scene.truth)
    found_track = identities(scene, scene.predicted)
    won = _assigned(scene, gated, similarity)
    frame = scene.truth.frame[gated.truth[won]]
    track = truth_track[gated.truth[won]] * JOINTS + gated.joint[won]
    won = won[np.lexsort((frame, track))]
    track = truth_track[gated.truth[won]] * JOINTS + gated.joint[won]
    found = found_track[gated.predicted[won]] * JOINTS + gated.joint[won]
    cell = scene.frame_sequence[scene.truth.frame[gated.truth[won]]] * JOINTS + gated.joint[won]
    span = int(found.max(initial=0)) + 1
    _, first, pair = np.unique(track * span + found, return_index=True, return_inverse=True)
    return _Matches(
        cell=cell,
        track=track,
        found=found,
        pair=pair,
        similarity=similarity[won],
        pair_cell=cell[first],
        pair_true=_frames_of(scene.truth, truth_track)[track[first]],
        pair_found=_frames_of(scene.predicted, found_track)[found[first]],
    )


def _frames_of(people: People, track: Integers) -> Integers:
    """How many frames hold every joint track."""
    person, joint = np.nonzero(people.present)
    return np.bincount(track[person] * JOINTS + joint)


def _assigned(scene: Scene, gated: Gated, similarity: NDArray[np.float64]) -> Integers:
    """Indices of the pairs that win: in every frame the largest sum of similarities.

    A joint whose possible partners know nobody else takes the most similar of them, all such at once; what is left (and
    exact ties) is solved frame by frame.
    """
    if not len(similarity):
        return np.zeros(0, dtype=np.int64)
    truth, predicted = gated.truth * JOINTS + gated.joint, gated.predicted * JOINTS + gated.joint
    around_truth, around_predicted = _is_centre(truth, predicted), _is_centre(predicted, truth)
    centre = np.where(around_truth, truth, predicted + truth.max() + 1)
    easy = np.flatnonzero(around_truth | around_predicted)
    order = easy[np.lexsort((-similarity[easy], centre[easy]))]
    first = first_of_each(centre[order])
    tied = first[:-1] & ~first[1:] & (similarity[order][:-1] == similarity[order][1:])
    open_cases = np.isin(centre, centre[order[:-1][tied]]) | ~(around_truth | around_predicted)
    won = order[first]
    won = won[~open_cases[won]]
    return np.concatenate([won, _solved_cases(scene, gated, similarity, np.flatnonzero(open_cases))])


def _is_centre(joint: Integers, partner: Integers) -> NDArray[np.bool_]:
    """(n,) whether all partners of a pair's joint have no other partner than it."""
    choices = np.bincount(partner)[partner]
    most = np.zeros(joint.max() + 1, dtype=np.int64)
    np.maximum.at(most, joint, choices)
    alone: NDArray[np.bool_] = most[joint] == 1
    return alone


def _solved_cases(scene: Scene, gated: Gated, similarity: NDArray[np.float64], open_cases: Integers) -> Integers:
    """Those of the open pairs that win, by one assignment per frame and joint that has any."""
    if not len(open_cases):
        return open_cases
    cell = scene.truth.frame[gated.truth] * JOINTS + gated.joint
    involved = np.flatnonzero(np.isin(cell, cell[open_cases]))
    involved = involved[np.argsort(cell[involved], kind="stable")]
    starts = np.flatnonzero(first_of_each(cell[involved]))
    solved = [_solved(scene, gated, similarity, pairs) for pairs in np.split(involved, starts[1:])]
    won: Integers = np.intersect1d(np.concatenate(solved), open_cases)
    return won


def _solved(scene: Scene, gated: Gated, similarity: NDArray[np.float64], pairs: Integers) -> Integers:
    """The best assignment over everybody in a frame, as the kit poses it, so that equal sums fall the same way."""
    frame = scene.truth.frame[gated.truth[pairs[0]]]
    first_truth, last_truth = np.searchsorted(scene.truth.frame, (frame, frame + 1))
    first_predicted, last_predicted = np.searchsorted(scene.predicted.frame, (frame, frame + 1))
    score = np.zeros((last_truth - first_truth, last_predicted - first_predicted))
    number = np.full(score.shape, -1)
    place = (gated.truth[pairs] - first_truth, gated.predicted[pairs] - first_predicted)
    score[place], number[place] = similarity[pairs], pairs
    chosen: Integers = number[linear_sum_assignment(-score)]
    return chosen
