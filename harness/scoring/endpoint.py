"""How far joints land from the truth: PCKh and end-point errors in head sizes, over the people that were matched.

Metrics: `pckh` percent of annotated joints found within half a head size (unmatched people count as not found),
`pckh_01` the same within a tenth, `pckh_auc` the mean over thresholds 0.01 ... 0.50; over joints of matched people that
both sides have: `epe_head`, `epe_head_median` in head sizes, `epe_px` in image pixels. The total pools all joints.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import Sequence
from harness.predictions import Predictions
from harness.scoring.cleaning import poseval_scene
from harness.scoring.matching import MatchTable, match
from harness.scoring.poseval import check_not_empty, facts_of
from harness.scoring.ragged import Integers
from harness.scoring.scores import Score, Scores, joint_rows

__all__ = ["NAME", "EndpointErrors", "endpoint_errors", "score_endpoint"]

NAME = "pck"

_THRESHOLDS = np.arange(1, 51) / 100


@dataclass(frozen=True)
class EndpointErrors:
    """Values per joint in POSETRACK15 order, then over all joints; (16,) each, NaN where there is nothing."""

    pckh: NDArray[np.float64]
    pckh_01: NDArray[np.float64]
    pckh_auc: NDArray[np.float64]
    epe_head: NDArray[np.float64]
    epe_head_median: NDArray[np.float64]
    epe_px: NDArray[np.float64]
    n_truth: Integers
    n_predicted: Integers


def endpoint_errors(
    table: MatchTable, *, truth_keep: NDArray[np.bool_] | None = None, keep: NDArray[np.bool_] | None = None
) -> EndpointErrors:
    """Errors of a match table, or of the truth joints (G,15) and predicted joints (P,15) kept of it."""
    truth = table.scene.truth.present if truth_keep is None else table.scene.truth.present & truth_keep
    distance = table.distance if keep is None else np.where(keep, table.distance, np.nan)
    return _errors(truth, distance, table.on_predictions(table.scene.head, unmatched=np.nan))


def _errors(truth: NDArray[np.bool_], distance: NDArray[np.float64], head: NDArray[np.float64]) -> EndpointErrors:
    """From truth joints (G,15), distances (P,15) in head sizes (NaN for none) and the head sizes (P,) they refer to."""
    known = np.isfinite(distance)
    columns = [(distance[rows, joint], head[rows]) for joint, rows in enumerate(known.T)]
    columns.append((distance[known], np.broadcast_to(head[:, None], distance.shape)[known]))
    n_truth = np.append(truth.sum(axis=0), truth.sum())
    within = [np.searchsorted(np.sort(errors), _THRESHOLDS, side="right") for errors, _ in columns]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 100 * np.array(within) / n_truth[:, None]
    return EndpointErrors(
        pckh=share[:, -1],
        pckh_01=share[:, 9],
        pckh_auc=share.mean(axis=1),
        epe_head=np.array([_mean(errors) for errors, _ in columns]),
        epe_head_median=np.array([float(np.median(errors)) if len(errors) else np.nan for errors, _ in columns]),
        epe_px=np.array([_mean(errors * heads) for errors, heads in columns]),
        n_truth=n_truth,
        n_predicted=np.array([len(errors) for errors, _ in columns]),
    )


def score_endpoint(
    sequences: Series[Sequence],
    predictions: Predictions,
    *,
    compat: str = "official",
    per_sequence: bool = False,
    tracking: bool | None = None,
) -> Scores:
    """PCKh and end-point errors under poseval's clean-up and matching."""
    table = match(poseval_scene(sequences, predictions, compat=compat))
    check_not_empty(table.scene)
    entries = _rows("all", endpoint_errors(table))
    head = table.on_predictions(table.scene.head, unmatched=np.nan)
    for number in np.unique(table.scene.frame_sequence).tolist() if per_sequence else []:
        own, found = (
            slice(*np.searchsorted(rows, (number, number + 1)))
            for rows in (table.truth_sequence, table.predicted_sequence)
        )
        values = _errors(table.scene.truth.present[own], table.distance[found], head[found])
        entries += _rows(f"sequence:{table.scene.sequence_names[number]}", values)
    return Scores(tuple(entries), table.scene.warnings, facts_of(table, compat))


def _rows(slice: str, values: EndpointErrors) -> list[Score]:
    metrics = ("pckh", "pckh_01", "pckh_auc", "epe_head", "epe_head_median", "epe_px")
    counts = {"n_truth": values.n_truth, "n_predicted": values.n_predicted}
    return [row for metric in metrics for row in joint_rows(NAME, metric, slice, getattr(values, metric), **counts)]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
