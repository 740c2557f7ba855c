"""From a record back to its data and weights, to check and rescore a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.datasets import DataSet, datasets, open_dataset
from harness.datasets.fingerprint import file_sha256
from harness.datasets.images import images_fingerprint, missing_images
from harness.errors import DataError, UsageError, WeightsError
from harness.predictions import Predictions, read_parquet
from harness.records import RunRecord
from harness.scoring import Scores
from harness.scoring.standard import SLICES, score_run
from harness.weights import find_weights

__all__ = ["images_now", "reopen", "rescorer", "same_sequences", "weights_path"]


def reopen(record: RunRecord, root: Path | None = None) -> DataSet | None:
    """The data set a record was made on, None where it is not at hand (not embedded, and no root given)."""
    name = record.dataset.name
    if name not in datasets or (root is None and datasets[name].prepare is None):
        return None
    return open_dataset(name, record.dataset.split, root=root if datasets[name].prepare is None else None)


def images_now(record: RunRecord, dataset: DataSet, predictions: Path | None) -> str | None:
    """The fingerprint of a run's images as they are, None where they are not at hand or were not looked at.

    Only the sequences of the stored `predictions` count. Embedded data are drawn anew on each machine: where that came
    out otherwise than for the record, None too.
    """
    expected = record.dataset.images_fingerprint
    if expected is None or predictions is None or not predictions.is_file():
        return None
    try:
        own = same_sequences(dataset, read_parquet(predictions), predictions)
    except DataError:  # which sequences the run looked at cannot be known any more
        return None
    if sum(map(len, missing_images(own).values())) == own.frame_count:
        return None
    found = images_fingerprint(own)
    return None if found != expected and datasets[record.dataset.name].prepare is not None else found


def rescorer(dataset: DataSet) -> Callable[[RunRecord, Path], Scores]:
    """A function that scores the stored predictions of a run again."""

    def rescore(record: RunRecord, path: Path) -> Scores:
        predictions = read_parquet(path)
        compat, slices = _asked(record)
        own = same_sequences(dataset, predictions, path)
        return score_run(own, predictions, compat=compat, slices=slices)

    return rescore


def _asked(record: RunRecord) -> tuple[str, list[str]]:
    """The compat rule and the slices a run was scored with; DataError where its record says neither text nor a list."""
    compat, slices = record.scoring.get("compat", "official"), record.scoring.get("slices", list(SLICES))
    if isinstance(compat, str) and isinstance(slices, list) and all(isinstance(name, str) for name in slices):
        return compat, slices
    raise DataError("scoring.compat and scoring.slices of the record: expected a text and a list of texts")


def same_sequences(dataset: DataSet, predictions: Predictions, path: Path) -> DataSet:
    """The data set cut to the sequences of stored predictions, in their order; DataError for one it does not have."""
    named = {sequence.name: sequence for sequence in dataset.sequences}
    absent = [name for name in predictions.sequence_names if name not in named]
    if absent:
        raise DataError(f"{path}: sequence '{absent[0]}' is not in {dataset.name} {dataset.split}")
    return replace(dataset, sequences=tuple(named[name] for name in predictions.sequence_names))


def weights_path(record: RunRecord, given: tuple[Path, ...] = ()) -> Path | None:
    """The file that a record's weights were loaded from, be it `given` by that name; None where it is not at hand.

    Of several given by that name it is the one with the record's sha256, else the first.
    """
    if record.weights is None:
        return None
    if own := [path for path in given if record.weights.name in (path.name, str(path))]:
        digest = record.weights.sha256.removeprefix("sha256:")
        return next((path for path in own[1:] if path.is_file() and file_sha256(path) == digest), own[0])
    try:
        return find_weights(record.weights.name)[0]
    except (UsageError, WeightsError):
        return None
