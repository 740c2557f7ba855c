"""What every run is scored with: its protocol, the slices of hidden, fast and crowded, and intervals over sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.datasets.sequences import DataSet
from harness.predictions import Predictions
from harness.scoring.matched import match_run
from harness.scoring.poseval import NAME as POSEVAL
from harness.scoring.protocols import score
from harness.scoring.scores import Scores
from harness.scoring.slices import score_slices
from harness.scoring.uncertainty import with_intervals

__all__ = ["SLICES", "score_run", "sliced"]

#: The slices of every record; `harness score --slice` and `compare --slice` take any registered one.
SLICES = ("visibility", "occlusion_run", "speed", "overlap")

#: Metrics of slices that a record keeps; the rest is recomputed when asked for.
_KEPT = ("ap", "ap_lower", "ap_upper", "pckh")


def score_run(
    dataset: DataSet, predictions: Predictions, *, compat: str = "official", slices: Iterable[str] = SLICES
) -> Scores:
    """The scores of a record: the data set's protocol and poseval, AP of the slices, intervals over sequences.

    Slices whose labels the data set lacks stand in facts["not_available"]. Raises DataError as `score` does.
    """
    names = tuple(slices)
    found = score(dataset, predictions, protocol=POSEVAL, compat=compat)
    found = sliced(dataset, predictions, found, compat=compat, slices=names)
    if dataset.protocol != POSEVAL:
        found = score(dataset, predictions, protocol=dataset.protocol, compat=compat) + found
    return replace(found, facts={**found.facts, "compat": compat, "slices": list(names)})


def sliced(
    dataset: DataSet,
    predictions: Predictions,
    scores: Scores,
    *,
    compat: str,
    slices: Iterable[str],
    kept: Iterable[str] = _KEPT,
) -> Scores:
    """`scores` with rows of the slices, and with the intervals of every AP."""
    matched = match_run(dataset, predictions, compat=compat)
    parts = score_slices(matched, slices)
    rows = tuple(row for row in parts.entries if row.metric in set(kept))
    lacking = parts.facts["not_available"]
    facts = {**scores.facts, "not_available": lacking}
    return with_intervals(Scores(scores.entries + rows, scores.warnings, facts), matched)
