"""Predictions <-> Parquet: one row per person, joints as lists of fixed size; equal predictions give equal bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from harness import skeletons
from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError, HarnessError
from harness.files import read_plain, write_whole
from harness.predictions.rows import Predictions, person_numbers

__all__ = ["read_parquet", "write_parquet"]

_KEY = b"harness.predictions"
_FORMAT = 1

#: Bytes of a file of predictions, which no data set comes near.
LARGEST = 2**32
#: Bytes that any file may unpack to, and how many times its own size where that is more.
_SMALL, _MOST_TIMES = 2**28, 64
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
    write_whole(path, content, remedy="choose another folder")
    return hashlib.sha256(content).hexdigest()


def read_parquet(path: Path) -> Predictions:
    """Read what `write_parquet` wrote; DataError for a file that is missing, damaged or of another kind.

    What a small file says that it holds is looked at before it is unpacked: more than 256 MiB and 64 times its size
    are refused.
    """
    pa, pq = _arrow()
    from harness.predictions.parquet_columns import check_columns

    try:
        content = read_plain(path, most=LARGEST)
        # Not `read_table`, which looks for partitions and starts threads: thrice the time for files of this size.
        file = pq.ParquetFile(pa.BufferReader(content))
        wanted = check_columns(file.schema_arrow, source=str(path))
        names, skeleton = _header(file.schema_arrow.metadata, path)
        _check_size(file.metadata, len(content), len(skeleton), path)
        if not pa.types.is_dictionary(file.schema_arrow.field("sequence").type):
            # written by others: the same long name in every row would be written out in each
            file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=["sequence"])
        table = file.read(columns=wanted, use_threads=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DataError(f"{path}: not a readable Parquet file ({reason}); write the file again") from None
    try:
        return _predictions(table, names, skeleton)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: the columns are not those of predictions ({reason}); write the file again") from None


def _header(metadata: dict[bytes, bytes] | None, path: Path) -> tuple[tuple[str, ...], skeletons.Skeleton]:
    """The names of the sequences and the skeleton that a file says it is about."""
    header = (metadata or {}).get(_KEY)
    if header is None:
        raise DataError(f"{path}: these are not predictions of this program: its header names no sequences")
    try:
        facts = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: its header is damaged ({error}); write the file again") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path}: its header is not an object; write the file again")
    skeleton = _SKELETONS.get(str(facts.get("skeleton")))
    if facts.get("format") != _FORMAT or skeleton is None:
        told = f"format {facts.get('format')!s:.40} with skeleton {facts.get('skeleton')!s:.40}"
        raise DataError(f"{path}: {told} is not known here")
    names = facts.get("sequence_names")
    if not isinstance(names, list) or set(map(type, names)) - {str} or len(set(names)) < len(names):
        raise DataError(f"{path}: sequence_names of its header is no list of different names; write the file again")
    return tuple(names), skeleton


def _check_size(metadata: Any, size: int, joints: int, path: Path) -> None:
    """Raise DataError for a file of `size` bytes that unpacks to far more: equal rows take next to no room."""
    # What its columns say of themselves is not asked: pyarrow ends the process where that is damaged.
    packed = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    unpacked = max(packed, metadata.num_rows * 8 * (9 + 4 * joints))
    if unpacked > max(_SMALL, _MOST_TIMES * size):
        raise DataError(
            f"{path}: unpacks from {size:,} to about {unpacked:,} bytes ({metadata.num_rows:,} rows), as no "
            "predictions do; write the file again"
        )


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
    from harness.predictions.parquet_columns import OPTIONAL, codes, flags, lists, whole

    joints = len(skeleton)
    sequence, frame, person = codes(table, names), whole(table, "frame"), whole(table, "person")
    if not np.array_equal(np.lexsort((person, frame, sequence)), np.arange(len(table))):
        raise ValueError("the rows are not ordered by sequence, frame and person")
    if not np.array_equal(person, person_numbers(sequence, frame)):
        raise ValueError("the people of a frame are not numbered 0, 1, 2 ...")
    return Predictions(
        sequence_names=names,
        sequence=sequence,
        frame=frame,
        person=person,
        track_ids=whole(table, "track_id", missing=NO_TRACK),
        boxes=lists(table, "box", 4),
        box_scores=np.array(table.column("box_score").to_numpy(), dtype=np.float64),
        joints=lists(table, "joints", 2 * joints).reshape(-1, joints, 2),
        scores=lists(table, "scores", joints),
        present=lists(table, "present", joints),
        skeleton=skeleton,
        whole_numbers=flags(table, OPTIONAL) if OPTIONAL in table.column_names else None,
    )
