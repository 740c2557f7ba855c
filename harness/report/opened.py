"""Stored runs with what their poses stand on: the data set's truth and images, and the matches of every run."""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass
from pathlib import Path

from harness.datasets import DataSet
from harness.errors import DataError, UsageError, listed
from harness.predictions import Predictions, read_parquet
from harness.reopen import reopen, same_sequences
from harness.report.comparable import labels
from harness.results import StoredRun
from harness.scoring.matched import Matched, match_run

__all__ = ["Opened", "open_runs"]


@dataclass(frozen=True, eq=False)
class Opened:
    """Runs on the same labels: `names` (one per run), their `predictions`, and `matched` as the scorer matches them.

    `dataset` holds the sequences of the predictions only.
    """

    dataset: DataSet
    runs: tuple[StoredRun, ...]
    names: tuple[str, ...]
    predictions: tuple[Predictions, ...]
    matched: tuple[Matched, ...]

    def sequence_number(self, name: str) -> int:
        """Position of a sequence by name, or by any part of it that only one has; UsageError otherwise."""
        names = [sequence.name for sequence in self.dataset.sequences]
        found = [name] if name in names else [own for own in names if name in own]
        if len(found) == 1:
            return names.index(found[0])
        what = f"names {len(found)} sequences: {listed(found)}" if found else f"is in none of them: {listed(names)}"
        raise UsageError(f"sequence '{name}' {what}; say which")


def open_runs(runs: Series[StoredRun], root: Path | None = None) -> Opened:
    """Open the data set and the stored predictions of runs, and match them.

    Raises UsageError for runs on different labels, DataError where labels or predictions are missing or others than
    those of the record.
    """
    check_same_labels(runs)
    first = runs[0].record
    dataset = reopen(first, root)
    if dataset is None:
        raise DataError(f"data set {first.dataset.name} is not at hand; give --data-root DIR")
    if dataset.fingerprint != first.dataset.fingerprint:
        raise DataError(f"{dataset.root}: its labels are not those of the runs (fingerprint {dataset.fingerprint})")
    predictions = tuple(read_parquet(run.stored_predictions()) for run in runs)
    own = same_sequences(dataset, predictions[0], runs[0].stored_predictions())
    matched = tuple(
        match_run(own, each, compat=run.record.scoring.get("compat", "official"))
        for each, run in zip(predictions, runs, strict=True)
    )
    return Opened(own, tuple(runs), tuple(labels([run.record for run in runs])), predictions, matched)


def check_same_labels(runs: Series[StoredRun]) -> None:
    """Raise UsageError naming the first run that was scored against other labels than the first."""
    one = runs[0].record.dataset
    for run in runs[1:]:
        other = run.record.dataset
        if (one.name, one.split, one.fingerprint) != (other.name, other.split, other.fingerprint):
            names = f"{runs[0].id} ({one.name} {one.split}) and {run.id} ({other.name} {other.split})"
            raise UsageError(f"{names} are runs on different data; name runs on the same labels")
