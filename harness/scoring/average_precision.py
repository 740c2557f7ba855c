"""Average precision, precision and recall per joint: count from a match table, then compute.

Source: specification of poseval, section 5 (all-point interpolation; the integral of the PoseTrack21 kit is the same).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.scoring.matching import MatchTable
from harness.scoring.ragged import Integers, first_of_each

__all__ = [
    "Curve",
    "PrecisionRecall",
    "RankedEvents",
    "area",
    "by_sequence",
    "counted",
    "curve",
    "precision_recall",
    "ranked",
    "tie_bounds",
]


@dataclass(frozen=True)
class RankedEvents:
    """The predicted joints of one joint type, best score first, and how many there are to find.

    `score`, `hit`, `sequence` (n,) aligned; equal scores stand in reverse order of the match table (a stable ascending
    sort, reversed; the documented rule where upstream is not reproducible). Adding two merges them, `other` counting as
    later in the table.
    """

    score: NDArray[np.float64]
    hit: NDArray[np.bool_]
    sequence: Integers
    n_truth: int

    def __len__(self) -> int:
        return len(self.score)

    def __add__(self, other: RankedEvents) -> RankedEvents:
        parts = [(part.score[::-1], part.hit[::-1], part.sequence[::-1]) for part in (self, other)]
        score, hit, sequence = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return ranked(score, hit, sequence, self.n_truth + other.n_truth)

    @property
    def tied(self) -> bool:
        """Whether any two scores are equal."""
        return not bool(first_of_each(self.score).all())


@dataclass(frozen=True)
class Curve:
    """Precision against recall over the ranks of one joint (fractions)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True)
class PrecisionRecall:
    """Percent per joint in POSETRACK15 order, then the total; (16,) each; NaN where undefined.

    `low` and `high` bound `ap` over all orders of equal scores; they equal `ap` where nothing is tied.
    """

    ap: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    n_truth: Integers
    n_predicted: Integers
    n_hit: Integers
    low: NDArray[np.float64] = field(default_factory=lambda: np.full(16, np.nan))
    high: NDArray[np.float64] = field(default_factory=lambda: np.full(16, np.nan))


def ranked(score: NDArray[np.float64], hit: NDArray[np.bool_], sequence: Integers, n_truth: int) -> RankedEvents:
    """Events in table order -> ranked events.

    >>> ranked(np.array([0.5, 0.9, 0.5]), np.array([True, False, False]), np.zeros(3, dtype=int), 2).hit.tolist()
    [False, False, True]
    """
    order = np.argsort(score)
    in_order = score[order]
    if len(score) and not first_of_each(in_order).all():
        order = np.argsort(score, kind="stable")
        in_order = score[order]
    order = order[::-1]
    return RankedEvents(in_order[::-1], hit[order], sequence[order], n_truth)


def counted(
    table: MatchTable, *, keep: NDArray[np.bool_] | None = None, truth_keep: NDArray[np.bool_] | None = None
) -> tuple[RankedEvents, ...]:
    """Ranked events of the 15 joints.

    `keep` (P,15) restricts the predicted joints that count, `truth_keep` (G,15) the truth joints to be found; both
    default to everything, which is poseval's own AP.
    """
    predicted, truth = table.scene.predicted.present, table.scene.truth.present
    predicted = predicted if keep is None else predicted & keep
    truth = truth if truth_keep is None else truth & truth_keep
    n_truth = truth.sum(axis=0).tolist()
    columns = (np.ascontiguousarray(cells.T) for cells in (predicted, table.scene.scores, table.hit))
    return tuple(
        ranked(score[kept], hit[kept], table.predicted_sequence[kept], number)
        for kept, score, hit, number in zip(*columns, n_truth, strict=True)
    )


def by_sequence(joints: Sequence[RankedEvents], n_truth: Integers) -> dict[int, tuple[RankedEvents, ...]]:
    """Sequence -> its own ranked events of every joint, in the same order; `n_truth` (S,J) what each has to find."""
    parts = [_split(events, counts) for events, counts in zip(joints, n_truth.T.tolist(), strict=True)]
    return {number: tuple(part[number] for part in parts) for number in range(len(n_truth))}


def _split(events: RankedEvents, n_truth: list[int]) -> list[RankedEvents]:
    order = np.argsort(events.sequence, kind="stable")
    ends = np.searchsorted(events.sequence[order], np.arange(len(n_truth)), side="right").tolist()
    groups = (order[start:stop] for start, stop in zip([0, *ends], ends, strict=False))
    return [
        RankedEvents(events.score[group], events.hit[group], events.sequence[group], count)
        for group, count in zip(groups, n_truth, strict=True)
    ]


def curve(hit: NDArray[np.bool_], n_truth: int) -> Curve:
    """Precision and recall at every rank; recall is NaN where there is nothing to find.

    >>> curve(np.array([True, False]), 4).precision.tolist(), curve(np.array([True, False]), 4).recall.tolist()
    ([1.0, 0.5], [0.25, 0.25])
    """
    positives = np.cumsum(hit)
    with np.errstate(invalid="ignore"):
        return Curve(positives / np.arange(1, len(hit) + 1), positives / np.float64(n_truth))


def area(points: Curve) -> float:
    """Area under the monotone envelope of a curve with at least one point, as a fraction.

    Sums the same products in the same order as upstream (numpy's pairwise sum), so that every bit agrees.
    """
    recall = np.concatenate([[0.0], points.recall, [1.0]])
    precision = np.concatenate([[0.0], points.precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[step + 1] - recall[step]) * envelope[step + 1]))


def precision_recall(
    joints: Iterable[RankedEvents], *, empty_recall: float = np.nan, order: Integers | slice = slice(None)
) -> PrecisionRecall:
    """Percent per joint and total.

    A joint never predicted has 0 everywhere, and these zeros enter the total; a joint predicted but never annotated has
    a recall of 0/0, hence AP and recall NaN (left out of the total) and precision 0. `empty_recall=0.0` makes those 0
    as the PoseTrack21 kit does. `order` is the order of the joints in the total's mean (it decides the last bit).
    """
    joints = tuple(joints)
    values = np.array([_joint_values(events.hit, events.n_truth, empty_recall) for events in joints])
    bounds = np.array(
        [
            tie_bounds(events, empty_recall=empty_recall) if events.tied else (value, value)
            for events, value in zip(joints, values[:, 0], strict=True)
        ]
    )
    ap, precision, recall, low, high = (_with_total(column, order) for column in (*values.T, *bounds.T))
    return PrecisionRecall(
        ap=ap,
        precision=precision,
        recall=recall,
        n_truth=_with_sum([events.n_truth for events in joints]),
        n_predicted=_with_sum([len(events) for events in joints]),
        n_hit=_with_sum([int(events.hit.sum()) for events in joints]),
        low=low,
        high=high,
    )


def tie_bounds(events: RankedEvents, *, empty_recall: float = np.nan) -> tuple[float, float]:
    """(lowest, highest) AP in percent over all orders of equal scores: hits last, hits first within every tie."""
    group = np.cumsum(first_of_each(events.score))
    worst, best = (events.hit[np.lexsort((key, group))] for key in (events.hit, ~events.hit))
    low, high = (_joint_values(hit, events.n_truth, empty_recall)[0] for hit in (worst, best))
    return low, high


def _joint_values(hit: NDArray[np.bool_], n_truth: int, empty_recall: float) -> tuple[float, float, float]:
    if not len(hit):
        return 0.0, 0.0, 0.0
    points = curve(hit, n_truth)
    if not n_truth:
        return empty_recall, float(points.precision[-1]) * 100, empty_recall
    return area(points) * 100, float(points.precision[-1]) * 100, float(points.recall[-1]) * 100


def _with_total(values: NDArray[np.float64], order: Integers | slice) -> NDArray[np.float64]:
    ordered = np.ascontiguousarray(values[order])
    known = ordered[~np.isnan(ordered)]
    return np.append(values, np.mean(known) if len(known) else np.nan)


def _with_sum(counts: list[int]) -> Integers:
    return np.array([*counts, sum(counts)], dtype=np.int64)
