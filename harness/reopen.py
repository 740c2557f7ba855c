"""From a record back to its data and weights, to check and rescore a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.datasets import DataSet, datasets, open_dataset
from harness.datasets.images import images_fingerprint, missing_images
from harness.errors import DataError, UsageError, WeightsError
from harness.predictions import Predictions, read_parquet
from harness.records import RunRecord
from harness.scoring import Scores
from harness.scoring.standard import SLICES, score_run
from harness.weights import find_weights, weights

__all__ = ["fitting", "images_now", "looked_at", "reopen", "rescorer", "same_sequences", "weights_path"]


def reopen(record: RunRecord, root: Path | None = None) -> DataSet | None:
    """The data set a record was made on, None where it is not at hand (not embedded, and no root given)."""
    name = record.dataset.name
    if name not in datasets or (root is None and datasets[name].prepare is None):
        return None
    return open_dataset(name, record.dataset.split, root=root if datasets[name].prepare is None else None)


def images_now(own: DataSet) -> str:
    """The fingerprint of the images of sequences as they are; DataError that names the first missing one."""
    missing = [frame for frames in missing_images(own).values() for frame in frames]
    if missing:
        name, first = f"{own.name} {own.split}", own.image_path(missing[0])
        raise DataError(f"{len(missing)} of {own.frame_count} images of {name} are missing, the first: {first}")
    return images_fingerprint(own)


def looked_at(record: RunRecord, dataset: DataSet, predictions: Path | None) -> DataSet | None:
    """The sequences whose images a run looked at: None where it looked at none, or which they were is not known."""
    if record.dataset.images_fingerprint is None:
        return None
    if predictions is None or not predictions.is_file():
        named = set(record.dataset.images)
        own = tuple(sequence for sequence in dataset.sequences if sequence.name in named)
        return replace(dataset, sequences=own) if named and len(own) == len(named) else None
    try:
        return same_sequences(dataset, read_parquet(predictions), predictions)
    except DataError:  # damaged predictions or labels, which are findings of their own
        return None


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


def weights_path(record: RunRecord, given: Mapping[Path, str] | None = None) -> Path | None:
    """Where the file lies, or should, that a record's weights were loaded from; None where it is not at hand.

    Of the `given` files (path -> sha256) it is one with the record's sha256, else the first of its name; then the
    file that the manifest names, which is at hand where it is shipped, even if somebody removed it.
    """
    if record.weights is None:
        return None
    if own := fitting(record, given or {}):
        return own[0]
    name = record.weights.name
    try:
        return find_weights(name)[0]
    except UsageError:
        return None
    except WeightsError:
        return weights[name].path if name in weights and not weights[name].url else None


def fitting(record: RunRecord, given: Mapping[Path, str]) -> list[Path]:
    """The weights files (path -> sha256) that a record may mean, by their content first, then by their name."""
    if record.weights is None:
        return []
    digest, name = record.weights.sha256.removeprefix("sha256:"), record.weights.name
    same = [path for path, found in given.items() if found == digest]
    return same + [path for path in given if path not in same and name in (path.name, str(path))]
