"""From a record back to its data and weights, to check and rescore a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.datasets import DataSet, datasets, open_dataset
from harness.errors import DataError, UsageError, WeightsError
from harness.predictions import Predictions, read_parquet
from harness.records import RunRecord
from harness.scoring import Scores
from harness.scoring.standard import SLICES, score_run
from harness.weights import find_weights

__all__ = ["reopen", "rescorer", "same_sequences", "weights_path"]


def reopen(record: RunRecord, root: Path | None = None) -> DataSet | None:
    """The data set a record was made on, None where it is not at hand (not embedded, and no root given)."""
    name = record.dataset.name
    if name not in datasets or (root is None and datasets[name].prepare is None):
        return None
    return open_dataset(name, record.dataset.split, root=root if datasets[name].prepare is None else None)


def rescorer(dataset: DataSet) -> Callable[[RunRecord, Path], Scores]:
    """A function that scores the stored predictions of a run again."""

    def rescore(record: RunRecord, path: Path) -> Scores:
        predictions = read_parquet(path)
        facts = record.scoring
        own = same_sequences(dataset, predictions, path)
        return score_run(own, predictions, compat=facts.get("compat", "official"), slices=facts.get("slices", SLICES))

    return rescore


def same_sequences(dataset: DataSet, predictions: Predictions, path: Path) -> DataSet:
    """The data set cut to the sequences of stored predictions, in their order; DataError for one it does not have."""
    named = {sequence.name: sequence for sequence in dataset.sequences}
    absent = [name for name in predictions.sequence_names if name not in named]
    if absent:
        raise DataError(f"{path}: sequence '{absent[0]}' is not in {dataset.name} {dataset.split}")
    return replace(dataset, sequences=tuple(named[name] for name in predictions.sequence_names))


def weights_path(record: RunRecord) -> Path | None:
    """The file that a record's weights were loaded from, None where it is not at hand."""
    if record.weights is None:
        return None
    try:
        return find_weights(record.weights.name)[0]
    except (UsageError, WeightsError):
        return None
