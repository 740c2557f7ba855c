"""Shards: one file per finished sequence, so that the same request, run again, continues where it was stopped."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import orjson

from harness.datasets.sequences import DataSet
from harness.errors import DataError, UsageError, listed
from harness.predictions import Predictions, read_parquet, write_parquet

__all__ = ["Shards"]


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

    def finished(self) -> dict[int, Predictions]:
        """The predictions of the sequences that are done, by number; a damaged shard counts as not done."""
        found = {}
        for number, sequence in enumerate(self.dataset.sequences if self.folder else ()):
            path = self._path(number)
            try:
                predictions = read_parquet(path) if path.is_file() else None
            except DataError:
                continue
            if predictions is not None and predictions.sequence_names == (sequence.name,):
                found[number] = predictions
        return found

    def save(self, number: int, predictions: Predictions) -> None:
        """Keep the predictions of a finished sequence, whole or not at all."""
        if self.folder is not None:
            write_parquet(predictions, self._path(number))

    def _path(self, number: int) -> Path:
        name = re.sub(r"[^\w.-]+", "_", self.dataset.sequences[number].name)
        return (self.folder or Path()) / f"{number:06d}-{name}.parquet"


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
    descriptor, temporary = tempfile.mkstemp(prefix=".request.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(orjson.dumps(wanted, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    Path(temporary).replace(path)
