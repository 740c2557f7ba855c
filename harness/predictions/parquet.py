"""Predictions <-> Parquet: one row per person, joints as lists of fixed size; equal predictions give equal bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from harness import skeletons
from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError, HarnessError, listed
from harness.predictions.rows import Predictions, person_numbers

__all__ = ["read_parquet", "write_parquet"]

_KEY = b"harness.predictions"
_FORMAT = 1
_COLUMNS = ("sequence", "frame", "person", "track_id", "box", "box_score", "joints", "scores", "present")
_SKELETONS = {
    item.name: item
    for item in (skeletons.POSETRACK17, skeletons.POSETRACK15, skeletons.POSETRACK21_15, skeletons.COCO17)
}


def write_parquet(predictions: Predictions, path: Path) -> str:
    """Write `path`, whole or not at all, and return the sha256 of the file.

    Columns: `sequence` (text), `frame`, `person`, `track_id` (null where there is none), `box` (4 numbers, xyxy px),
    `box_score`, `joints` (x, y of every joint, px), `scores`, `present`. Raises HarnessError if it cannot be written.
    """
    pa, pq = _arrow()
    sink = pa.BufferOutputStream()
    pq.write_table(
        _table(predictions),
        sink,
        compression="zstd",
        use_dictionary=["sequence"],
        write_statistics=False,
        version="2.6",
    )
    content = sink.getvalue().to_pybytes()
    descriptor, temporary = -1, ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise HarnessError(f"{path}: cannot be written ({error.strerror})") from None
    return hashlib.sha256(content).hexdigest()


def read_parquet(path: Path) -> Predictions:
    """Read what `write_parquet` wrote; DataError for a file that is missing, damaged or of another kind."""
    pa, pq = _arrow()
    try:
        # Not `read_table`, which looks for partitions and starts threads: thrice the time for files of this size.
        table = pq.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False)
        names = table.column_names
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    header = (table.schema.metadata or {}).get(_KEY)
    absent = [name for name in _COLUMNS if name not in names]
    if header is None or absent:
        why = f"column {listed(absent)} is missing" if absent else "its header names no sequences"
        raise DataError(f"{path}: these are not predictions of this program: {why}")
    try:
        facts = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: its header is damaged ({error}); write the file again") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path}: its header is not an object; write the file again")
    if facts.get("format") != _FORMAT or facts.get("skeleton") not in _SKELETONS:
        raise DataError(f"{path}: format {facts.get('format')} with skeleton {facts.get('skeleton')} is not known here")
    try:
        return _predictions(table, tuple(facts["sequence_names"]), _SKELETONS[facts["skeleton"]])
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{path}: the columns are not those of predictions ({error}); write the file again") from None


def _arrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet module, loaded only where a file is read or written."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise HarnessError(f"pyarrow cannot be loaded ({error}); install the version constraints.txt names") from None
    return pa, pq


def _table(predictions: Predictions) -> Any:
    pa, _ = _arrow()
    joints = predictions.present.shape[1]
    index = pa.array(predictions.sequence.astype(np.int32), type=pa.int32())
    names = pa.array(list(predictions.sequence_names), type=pa.string())
    columns = {
        "sequence": pa.DictionaryArray.from_arrays(index, names),
        "frame": pa.array(predictions.frame, type=pa.int64()),
        "person": pa.array(predictions.person, type=pa.int64()),
        "track_id": pa.array(predictions.track_ids, type=pa.int64(), mask=predictions.track_ids == NO_TRACK),
        "box": _lists(predictions.boxes, pa.float64(), 4),
        "box_score": pa.array(predictions.box_scores, type=pa.float64()),
        "joints": _lists(predictions.joints, pa.float64(), 2 * joints),
        "scores": _lists(predictions.scores, pa.float64(), joints),
        "present": _lists(predictions.present, pa.bool_(), joints),
    }
    if predictions.whole_numbers is not None:
        columns["whole_numbers"] = pa.array(predictions.whole_numbers, type=pa.bool_())
    facts = {
        "format": _FORMAT,
        "skeleton": predictions.skeleton.name,
        "joints": predictions.skeleton.names,
        "sequence_names": predictions.sequence_names,
    }
    return pa.table(columns).replace_schema_metadata({_KEY: orjson.dumps(facts)})


def _lists(values: NDArray[Any], kind: Any, width: int) -> Any:
    pa, _ = _arrow()
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1), type=kind), width)


def _predictions(table: Any, names: tuple[str, ...], skeleton: skeletons.Skeleton) -> Predictions:
    pa, _ = _arrow()
    joints = len(skeleton)

    def flat(name: str, width: int) -> NDArray[Any]:
        column = table.column(name).combine_chunks()
        values = column.values if len(column) else pa.array([], type=column.type.value_type)
        return np.array(values.to_numpy(zero_copy_only=False)).reshape(len(table), width)

    def plain(name: str) -> NDArray[Any]:
        return np.array(table.column(name).to_numpy())

    text = table.column("sequence").cast(pa.string()).combine_chunks().dictionary_encode()
    codes = {name: number for number, name in enumerate(names)}
    lookup = np.array([codes[name] for name in text.dictionary.to_pylist()], dtype=np.int64)
    sequence = lookup[text.indices.to_numpy()] if len(table) else np.zeros(0, dtype=np.int64)
    frame = plain("frame").astype(np.int64)
    person = plain("person").astype(np.int64)
    if not np.array_equal(np.lexsort((person, frame, sequence)), np.arange(len(table))):
        raise ValueError("the rows are not ordered by sequence, frame and person")
    if not np.array_equal(person, person_numbers(sequence, frame)):
        raise ValueError("the people of a frame are not numbered 0, 1, 2 ...")
    whole = plain("whole_numbers").astype(bool) if "whole_numbers" in table.column_names else None
    return Predictions(
        sequence_names=names,
        sequence=sequence,
        frame=frame,
        person=person,
        track_ids=table.column("track_id").fill_null(NO_TRACK).to_numpy().astype(np.int64),
        boxes=flat("box", 4),
        box_scores=plain("box_score"),
        joints=flat("joints", 2 * joints).reshape(-1, joints, 2),
        scores=flat("scores", joints),
        present=flat("present", joints).astype(bool),
        skeleton=skeleton,
        whole_numbers=whole,
    )
