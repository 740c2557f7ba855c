"""Shards: one file per finished sequence, so that the same request, run again, continues where it was stopped."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson

from harness.datasets.sequences import DataSet
from harness.errors import HarnessError, UsageError, listed
from harness.predictions import Predictions

__all__ = ["Shards", "joined"]

_COLUMNS = ("frame", "person", "track_ids", "boxes", "box_scores", "joints", "scores", "present")


class Shards:
    """The finished sequences of one request, in a folder (None: nothing is kept).

    The folder remembers the request in `request.json`; UsageError if it belongs to another one.
    """

    def __init__(self, folder: Path | None, dataset: DataSet, request: Mapping[str, object]) -> None:
        self.folder = folder
        self.dataset = dataset
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _claim(folder / "request.json", request)

    def finished(self) -> list[int]:
        """Numbers of the sequences that are done."""
        return [number for number in range(len(self.dataset)) if self.folder and self._path(number).is_file()]

    def load(self, number: int) -> Predictions:
        """The predictions of a finished sequence."""
        path = self._path(number)
        try:
            with np.load(path, allow_pickle=False) as columns:
                content = {name: columns[name] for name in _COLUMNS}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise HarnessError(f"{path}: not a readable shard ({error}); delete it and run again") from None
        sequence = np.zeros(len(content["frame"]), dtype=np.int64)
        name = self.dataset.sequences[number].name
        return Predictions(sequence_names=(name,), sequence=sequence, skeleton=self.dataset.skeleton, **content)

    def save(self, number: int, predictions: Predictions) -> None:
        """Keep the predictions of a finished sequence, whole or not at all."""
        if self.folder is None:
            return
        path = self._path(number)
        descriptor, temporary = tempfile.mkstemp(prefix=path.stem, suffix=".part", dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                np.savez(stream, **{name: getattr(predictions, name) for name in _COLUMNS})
            Path(temporary).replace(path)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise HarnessError(
                f"{path}: cannot write the shard ({error.strerror}); free some space and run again"
            ) from None

    def _path(self, number: int) -> Path:
        name = re.sub(r"[^\w.-]+", "_", self.dataset.sequences[number].name)
        return (self.folder or Path()) / f"{number:06d}-{name}.npz"


def _claim(path: Path, request: Mapping[str, object]) -> None:
    """Write the request, or compare it with the one that is there."""
    wanted = orjson.loads(orjson.dumps(dict(request)))
    if path.is_file():
        found = orjson.loads(path.read_bytes())
        different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        if different:
            raise UsageError(
                f"{path.parent}: holds shards of another request ({listed(different)} differ); "
                "choose another folder or empty it"
            )
        return
    descriptor, temporary = tempfile.mkstemp(prefix="request", suffix=".part", dir=path.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(orjson.dumps(wanted, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    Path(temporary).replace(path)


def joined(parts: Mapping[int, Predictions], dataset: DataSet) -> Predictions:
    """The predictions of all sequences in the order of the data set, whatever order they were made in."""
    numbers = sorted(parts)
    columns = {name: np.concatenate([getattr(parts[number], name) for number in numbers]) for name in _COLUMNS}
    sequence = np.repeat(np.array(numbers, dtype=np.int64), [len(parts[number]) for number in numbers])
    names = tuple(item.name for item in dataset.sequences)
    return Predictions(sequence_names=names, sequence=sequence, skeleton=dataset.skeleton, **columns)
