"""Diagnosis: why joints are wrong, what repairing each kind of error alone would gain, and how failures last.

Source: specification of slices, section 6; gains in the manner of TIDE (one error repaired at a time, so they do not
add up to 100 - AP).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.scoring.entries import Entries, Rank, average_precision, mean_over_joints, ranks, truth_by_sequence
from harness.scoring.error_classes import ABSENT, CLASSES, UNDETECTED, UNLABELLED, oks_classes, pckh_classes
from harness.scoring.failure_runs import KINDS, FailureRuns, failure_runs
from harness.scoring.matched import Matched
from harness.scoring.scores import Score, Scores, joint_rows

__all__ = ["PROTOCOL", "REPAIRS", "Diagnosis", "diagnose", "diagnosis_json", "repair_gains"]

PROTOCOL = "diagnosis"
ALL = "all"

#: What can be repaired alone: an error class of truth joints (a misplaced joint is put right, one that was not
#: predicted leaves the truth), and of predicted joints: poses of nobody and joints that are not labelled are taken out,
#: scores are ordered.
REPAIRS = (*CLASSES[1:], "background", "unlabelled", "score")


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """`pckh` and `oks` (G,15) codes of `CLASSES` over the truth people of `matched.table.scene` (-1: not labelled);
    `confusion` (5,5) predicted joints of matched people by PCKh class (rows) and OKS class; `runs` of failures;
    `scores` the tidy rows of `diagnose`."""

    pckh: NDArray[np.int64]
    oks: NDArray[np.int64]
    confusion: NDArray[np.int64]
    runs: FailureRuns
    scores: Scores


def diagnose(matched: Matched) -> Diagnosis:
    """Diagnose a run. Rows have protocol "diagnosis", per joint and total:

    `pckh_CLASS`, `oks_CLASS`: percent of the labelled truth joints, the count as n_predicted; the seven classes sum to
    100. `background`, `unlabelled`: percent of the predicted joints, of poses matched to nobody and of joints the
    matched person's truth does not label. `gain_REPAIR`: points of AP. `runs_KIND`: percent of the tracked joint-frames
    in failure runs of that kind, the number of runs as n_predicted.
    """
    pckh, oks = pckh_classes(matched), oks_classes(matched)
    runs = failure_runs(matched, pckh)
    rows = [*_class_rows("pckh", pckh), *_class_rows("oks", oks), *_predicted_rows(matched), *_gain_rows(matched, pckh)]
    rows += _run_rows(runs)
    confusion = np.zeros((ABSENT, ABSENT), dtype=np.int64)
    both = (pckh >= 0) & (pckh < ABSENT)
    np.add.at(confusion, (pckh[both], oks[both]), 1)
    facts: dict[str, Any] = {"confusion": confusion.tolist(), "classes": list(CLASSES[:ABSENT])}
    return Diagnosis(pckh, oks, confusion, runs, Scores(tuple(rows), facts=facts))


def repair_gains(matched: Matched, pckh: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Repair -> (16,) points of AP gained, joints and then the total; `pckh` as `pckh_classes` gives it."""
    order = ranks(matched.table)
    plain = _values([_repaired(matched, rank, pckh, None) for rank in order])
    return {name: _values([_repaired(matched, rank, pckh, name) for rank in order]) - plain for name in REPAIRS}


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The machine-readable object: metric -> joint -> value (NaN as None), counts, and the confusion table."""
    found: dict[str, Any] = {"confusion": diagnosis.scores.facts["confusion"], "classes": list(CLASSES)}
    for row in diagnosis.scores.rows:
        found.setdefault(row["metric"], {})[row["joint"]] = row["value"]
        found.setdefault("counts", {}).setdefault(row["metric"], {})[row["joint"]] = row["n_predicted"]
    return found


def _repaired(matched: Matched, rank: Rank, pckh: NDArray[np.int64], repair: str | None) -> Entries:
    """The entries of a joint after one repair."""
    codes = np.where(rank.truth >= 0, pckh[rank.truth, rank.joint], UNLABELLED)
    code = CLASSES.index(repair) if repair in CLASSES else None
    lost = pckh[:, rank.joint] == code if code in (ABSENT, UNDETECTED) else np.zeros(len(pckh), dtype=bool)
    hit = rank.hit | (codes == code) if code is not None else rank.hit
    kept = np.ones(len(hit), dtype=bool)
    if repair == "background":
        kept = rank.truth >= 0
    elif repair == "unlabelled":
        kept = (rank.truth < 0) | rank.labelled
    elif repair == "score":
        hit = np.sort(hit)[::-1]
    items = (matched.table.scene.truth.present[:, rank.joint] & ~lost)[:, None]
    truth = truth_by_sequence(matched, items)[:, 0]
    return Entries(hit[kept], np.ones(int(kept.sum())), rank.sequence[kept], rank.score[kept], truth)


def _values(joints: list[Entries]) -> NDArray[np.float64]:
    ap = np.array([average_precision(entries) for entries in joints])
    return np.append(ap, mean_over_joints(ap))


def _class_rows(order: str, codes: NDArray[np.int64]) -> list[Score]:
    items = (codes != UNLABELLED).sum(axis=0)
    return [
        row
        for code, name in enumerate(CLASSES)
        for row in _share_rows(f"{order}_{name}", (codes == code).sum(0), items)
    ]


def _predicted_rows(matched: Matched) -> list[Score]:
    table, scene = matched.table, matched.table.scene
    alone = (table.truth_of < 0)[:, None] & scene.predicted.present
    lacking = scene.predicted.present & ~alone & ~table.on_predictions(scene.truth.present, unmatched=True)
    predicted = scene.predicted.present.sum(axis=0)
    return [
        *_share_rows("background", alone.sum(axis=0), predicted),
        *_share_rows("unlabelled", lacking.sum(axis=0), predicted),
    ]


def _gain_rows(matched: Matched, pckh: NDArray[np.int64]) -> list[Score]:
    items = (pckh != UNLABELLED).sum(axis=0).tolist()
    predicted = matched.table.scene.predicted.present.sum(axis=0).tolist()
    counts = {"n_truth": [*items, sum(items)], "n_predicted": [*predicted, sum(predicted)]}
    return [
        row
        for name, values in repair_gains(matched, pckh).items()
        for row in joint_rows(PROTOCOL, f"gain_{name}", ALL, values.tolist(), **counts)
    ]


def _run_rows(runs: FailureRuns) -> list[Score]:
    found = []
    for kind, name in enumerate(KINDS):
        own = runs.kind == kind
        frames = np.bincount(runs.joint[own], weights=runs.length[own], minlength=len(runs.judged)).astype(np.int64)
        count = np.bincount(runs.joint[own], minlength=len(runs.judged))
        found += _share_rows(f"runs_{name}", frames, runs.judged, count)
    return found


def _share_rows(
    metric: str, part: NDArray[np.int64], items: NDArray[np.int64], count: NDArray[np.int64] | None = None
) -> list[Score]:
    """Rows of 100 * part / items per joint and total; n_predicted is `count`, which is `part` unless given."""
    parts, wholes, counts = (
        np.append(column, column.sum()) for column in (part, items, part if count is None else count)
    )
    values = np.where(wholes > 0, 100 * parts / np.maximum(wholes, 1), np.nan)
    return joint_rows(PROTOCOL, metric, ALL, values.tolist(), n_truth=wholes.tolist(), n_predicted=counts.tolist())
