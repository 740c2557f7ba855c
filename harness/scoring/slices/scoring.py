"""Scores of slices: AP with its bounds, recall, and the counts without which they mean nothing.

Source: specification of slices, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.scoring.average_precision import Curve, area
from harness.scoring.entries import Entries, average_precision, mean_over_joints, ranks, truth_by_sequence
from harness.scoring.matched import Matched
from harness.scoring.scores import Score, Scores, joint_rows
from harness.scoring.slices.bins import UNKNOWN, Assigned, assign_all
from harness.scoring.slices.counting import BinCounts, bin_counts, nearest_truth
from harness.scoring.slices.footage import GreyImages
from harness.scoring.slices.registry import slices

__all__ = [
    "ALL",
    "MIN_ITEMS",
    "MIN_SEQUENCES",
    "SliceCounts",
    "count_assigned",
    "count_slices",
    "score_slices",
    "whole",
]

PROTOCOL = "poseval"
ALL = "all"

#: An AP of fewer items or sequences than these is not shown.
MIN_ITEMS, MIN_SEQUENCES = 200, 8

#: The number of positives of normalised precision, one for all slices (Hoiem et al. 2012, specification section 2.5).
POSITIVES = 1000


@dataclass(frozen=True, eq=False)
class SliceCounts:
    """One bin of a slice, counted: the 15 joints' entries by rule for unmatched poses, and what they rest on.

    `items`, `people`, `sequences`, `matched_items`, `hits` (15,) over truth joints in the bin; `shown` (15,) whether
    AP may be shown; `people_total`, `sequences_total` over all joints.
    """

    label: str
    joints: tuple[BinCounts, ...]
    number: int
    items: NDArray[np.int64]
    sequences: NDArray[np.int64]
    matched_items: NDArray[np.int64]
    hits: NDArray[np.int64]
    shown: NDArray[np.bool_]
    people_total: int
    sequences_total: int

    def entries(self, unmatched: str = "assigned") -> tuple[Entries, ...]:
        """Entries of the 15 joints."""
        return tuple(joint.entries(self.number, unmatched) for joint in self.joints)


def whole(matched: Matched) -> Assigned:
    """The slice "all": every person in one bin, which is poseval's own AP."""
    cells = np.zeros(matched.table.scene.truth.present.shape, dtype=np.int64)
    return Assigned(ALL, "frame", (ALL,), cells, np.zeros(matched.table.scene.frame_count, dtype=np.int64))


def count_slices(
    matched: Matched,
    names: Iterable[str],
    *,
    images: GreyImages | None = None,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
) -> tuple[list[SliceCounts], list[SliceCounts], dict[str, str]]:
    """Every bin of the named slices ("all" among them is poseval's own), the unknown of each, and what is lacking.

    The third result maps a slice that is not available to what it needs.
    """
    wanted = list(dict.fromkeys(names))
    found, lacking = assign_all([name for name in wanted if name != ALL], matched, images)
    by_name = {assigned.name: assigned for assigned in found} | {ALL: whole(matched)}
    parts = [by_name[name] for name in wanted if name in by_name]
    known = count_assigned(matched, parts, min_items=min_items, min_sequences=min_sequences)
    return known, count_assigned(matched, parts, unknown=True), lacking


def count_assigned(
    matched: Matched,
    parts: Iterable[Assigned],
    *,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
    unknown: bool = False,
) -> list[SliceCounts]:
    """Every bin of slices that are assigned already (also by another run on the same truth), or with `unknown` those
    cells of each that are in no bin."""
    order, near = ranks(matched.table), nearest_truth(matched)
    counted = []
    for assigned in parts:
        joints = tuple(bin_counts(matched, assigned, rank, near) for rank in order)
        limits = (0, 0) if assigned.name == ALL else (max(min_items, 1), min_sequences)
        numbers = [UNKNOWN] if unknown else range(len(assigned.bins))
        counted += [_counted(matched, assigned, joints, number, limits) for number in numbers]
    return counted


def score_slices(
    matched: Matched,
    names: Iterable[str] | None = None,
    *,
    images: GreyImages | None = None,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
    positives: int = POSITIVES,
) -> Scores:
    """Rows of every bin of the named slices (all registered ones by default), slice column "NAME:BIN".

    Metrics, per joint and total, percent: `ap` (unmatched poses assigned), `ap_lower` (all of them counted),
    `ap_upper` (none), `ap_normalised` (precision as if every bin held `positives` items; to compare bins with each
    other), `recall` (of all items), `pckh` (of the items of matched people); counts: `items`, `people`, `sequences`. A
    joint with fewer than `min_items` items or `min_sequences` sequences has NaN for AP; the total is the mean of those
    shown.
    "NAME:unknown" only has counts. Slices that are not available have no row and stand in facts["not_available"].
    `images` fetches grey images for the slices that look at pixels. Raises UsageError for an unknown slice.
    """
    known, unknown, lacking = count_slices(
        matched, slices if names is None else names, images=images, min_items=min_items, min_sequences=min_sequences
    )
    rows = [row for counts in known for row in _rows(counts, positives)]
    rows += [row for counts in unknown if counts.items.sum() for row in _count_rows(counts)]
    rows += _unlabelled_rows(matched)
    warnings = [f"slice '{name}' is not available: it needs {needs}" for name, needs in lacking.items()]
    hidden = [counts.label for counts in known if not counts.shown.all()]
    if hidden:
        warnings.append(
            f"in {len(hidden)} of {len(known)} slices some joints have fewer than {min_items} items or {min_sequences} "
            f"sequences, too few for an AP; they are left out, and the total is the mean of the rest"
        )
    facts: dict[str, Any] = {
        "not_available": lacking,
        "shown_joints": {counts.label: int(counts.shown.sum()) for counts in known},
        "limits": {"items": min_items, "sequences": min_sequences, "positives": positives},
    }
    return Scores(tuple(rows), tuple(warnings), facts)


def _counted(
    matched: Matched, assigned: Assigned, joints: tuple[BinCounts, ...], number: int, limits: tuple[int, int]
) -> SliceCounts:
    scene = matched.table.scene
    cells = scene.truth.present & (assigned.cells == number)
    found = matched.table.predicted_of >= 0
    hits = np.zeros(cells.shape, dtype=bool)
    hits[found] = matched.table.hit[matched.table.predicted_of[found]]
    present = truth_by_sequence(matched, cells) > 0
    items, sequences = cells.sum(axis=0), present.sum(axis=0)
    return SliceCounts(
        label=ALL if assigned.name == ALL else assigned.label(number),
        joints=joints,
        number=number,
        items=items,
        sequences=sequences,
        matched_items=(cells & found[:, None]).sum(axis=0),
        hits=(cells & hits).sum(axis=0),
        shown=(items >= limits[0]) & (sequences >= limits[1]),
        people_total=int(cells.any(axis=1).sum()),
        sequences_total=int(present.any(axis=1).sum()),
    )


def _rows(counts: SliceCounts, positives: int) -> list[Score]:
    assigned = counts.entries()
    predicted = [round(entries.weight.sum()) for entries in assigned]
    rows: list[Score] = []
    for metric, values in (
        ("ap", _shown(counts, assigned)),
        ("ap_lower", _shown(counts, counts.entries("all"))),
        ("ap_upper", _shown(counts, counts.entries("none"))),
        ("ap_normalised", _shown(counts, assigned, positives)),
    ):
        rows += _metric(counts, metric, values, mean_over_joints(values), predicted)
    for metric, below in (("recall", counts.items), ("pckh", counts.matched_items)):
        rows += _metric(
            counts, metric, _percent(counts.hits, below), _percent(counts.hits.sum(), below.sum()), predicted
        )
    return rows + _count_rows(counts)


def _count_rows(counts: SliceCounts) -> list[Score]:
    items, sequences = counts.items.astype(float), counts.sequences.astype(float)
    return [
        *_metric(counts, "items", items, items.sum()),
        *_metric(counts, "people", items, counts.people_total),
        *_metric(counts, "sequences", sequences, counts.sequences_total),
    ]


def _metric(
    counts: SliceCounts, metric: str, values: NDArray[np.float64], total: Any, predicted: list[int] | None = None
) -> list[Score]:
    predicted = [0] * len(values) if predicted is None else predicted
    truth = counts.items.tolist()
    return joint_rows(
        PROTOCOL, metric, counts.label, [*values.tolist(), float(total)],
        n_truth=[*truth, sum(truth)], n_predicted=[*predicted, sum(predicted)],
    )  # fmt: skip


def _shown(counts: SliceCounts, entries: Iterable[Entries], positives: int | None = None) -> NDArray[np.float64]:
    values = [
        (average_precision(joint) if positives is None else normalised_precision(joint, positives)) if shown else np.nan
        for joint, shown in zip(entries, counts.shown, strict=True)
    ]
    return np.array(values)


def normalised_precision(entries: Entries, positives: int) -> float:
    """AP in percent with precision R*N / (R*N + false positives), N = `positives`, R the recall."""
    n_truth = entries.truth.sum()
    if not len(entries) or not n_truth:
        return average_precision(entries)
    recall = np.cumsum(entries.hit) / n_truth
    wrong = np.cumsum(np.where(entries.hit, 0.0, entries.weight))
    with np.errstate(invalid="ignore"):
        precision = recall * positives / (recall * positives + wrong)
    return area(Curve(np.nan_to_num(precision), recall)) * 100


def _percent(part: Any, whole: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(np.asarray(whole) > 0, 100 * np.asarray(part) / np.asarray(whole), np.nan)


def _unlabelled_rows(matched: Matched) -> list[Score]:
    """How often an unlabelled joint of a matched person is predicted with at least the median score of the hits."""
    scene, table = matched.table.scene, matched.table
    matched_people = table.truth_of >= 0
    lacking = np.zeros(table.hit.shape, dtype=bool)
    lacking[matched_people] = ~scene.truth.present[table.truth_of[matched_people]]
    shares, counts = [], []
    for joint in range(15):
        scores = scene.scores[:, joint]
        usual = np.median(scores[table.hit[:, joint]]) if table.hit[:, joint].any() else np.inf
        confident = lacking[:, joint] & scene.predicted.present[:, joint] & (scores >= usual)
        shares.append(float(_percent(confident.sum(), lacking[:, joint].sum())))
        counts.append((int(lacking[:, joint].sum()), int(confident.sum())))
    truth, found = (list(column) for column in zip(*counts, strict=True))
    total = float(_percent(sum(found), sum(truth)))
    return joint_rows(
        PROTOCOL, "unlabelled_confident", ALL, [*shares, total], n_truth=[*truth, sum(truth)],
        n_predicted=[*found, sum(found)],
    )  # fmt: skip
