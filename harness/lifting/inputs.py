"""Where the joints in the picture come from: the labels, or the predictions of a stored run."""

from __future__ import annotations

from harness.datasets import DataSet
from harness.errors import UsageError
from harness.lifting.tracks import Tracks, read_tracks
from harness.predictions import read_parquet
from harness.reopen import same_sequences
from harness.results import StoredRun

__all__ = ["open_tracks"]


def open_tracks(dataset: DataSet, run: StoredRun | None = None) -> Tracks:
    """The people of a split with their labelled joints, or with those that a run predicted in true boxes.

    Raises UsageError for a run of other data or of other boxes, whose people are not known to be those of the labels;
    DataError where its predictions are gone.
    """
    if run is None:
        return read_tracks(dataset)
    record = run.record
    if record.dataset.fingerprint != dataset.fingerprint:
        raise UsageError(
            f"{run.id} is of {record.dataset.name} {record.dataset.split} with other labels than "
            f"{dataset.name} {dataset.split}; say --dataset and --split as it did"
        )
    if record.boxes.source != "truth" or "track" in record.request:
        raise UsageError(f"{run.id} does not know who is who; lifting needs `harness eval` with true boxes, no --track")
    path = run.stored_predictions()
    predictions = read_parquet(path)
    return read_tracks(same_sequences(dataset, predictions, path), predictions)
