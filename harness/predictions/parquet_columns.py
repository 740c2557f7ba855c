"""The columns of a predictions file: their kinds, told before anything is read, and how each becomes an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.errors import DataError, listed

__all__ = ["COLUMNS", "check_columns", "codes", "flags", "lists", "whole"]

COLUMNS = ("sequence", "frame", "person", "track_id", "box", "box_score", "joints", "scores", "present")

#: Column that files of imported predictions have besides.
OPTIONAL = "whole_numbers"

_TEXT, _NUMBER, _WHOLE, _FLAG = "text", "a number", "a whole number", "true or false"
_SINGLE = {
    "sequence": _TEXT, "frame": _WHOLE, "person": _WHOLE, "track_id": _WHOLE, "box_score": _NUMBER, OPTIONAL: _FLAG,
}  # fmt: skip
_LISTS = {"box": _NUMBER, "joints": _NUMBER, "scores": _NUMBER, "present": _FLAG}


def check_columns(schema: Any, *, source: str) -> list[str]:
    """The columns to read of an Arrow schema: COLUMNS, and OPTIONAL where it is there.

    Numbers may be wider or narrower than this program writes them, and lists of no fixed size. Raises DataError naming
    a column that is missing, there twice or of another kind.
    """
    names = list(schema.names)
    absent = [name for name in COLUMNS if name not in names]
    if absent:
        raise DataError(f"{source}: these are not predictions of this program: column {listed(absent)} is missing")
    wanted = [*COLUMNS, *(name for name in (OPTIONAL,) if name in names)]
    for name in wanted:
        if names.count(name) > 1:
            raise DataError(f"{source}: column {name} is there {names.count(name)} times; write the file again")
        kind = schema.types[names.index(name)]
        if not (_is(kind, _SINGLE[name]) if name in _SINGLE else _is_list(kind, _LISTS[name])):
            expected = _SINGLE[name] if name in _SINGLE else f"a list of {_LISTS[name]} each"
            raise DataError(
                f"{source}: column {name} holds {str(kind)[:60]}, expected {expected}; write the file again"
            )
    return wanted


def whole(table: Any, name: str, *, missing: int | None = None) -> NDArray[np.int64]:
    """(N,) whole numbers, `missing` where there is none; ValueError where one is absent or does not fit."""
    column = table.column(name).cast(pa.int64())
    column = column if missing is None else column.fill_null(missing)
    _all_there(column, name)
    return np.array(column.to_numpy(), dtype=np.int64)


def flags(table: Any, name: str) -> NDArray[np.bool_]:
    """(N,) true or false; ValueError where one is absent."""
    column = table.column(name)
    _all_there(column, name)
    return np.array(column.to_numpy(), dtype=bool)


def lists(table: Any, name: str, width: int) -> NDArray[Any]:
    """(N, width) float64 (NaN where absent) or bool; ValueError for a list that is absent or of another length."""
    kind = pa.bool_() if _LISTS[name] is _FLAG else pa.float64()
    column = table.column(name).combine_chunks()
    _all_there(column, name)
    if pa.types.is_fixed_size_list(column.type):
        lengths = {column.type.list_size}
    else:
        lengths = set(np.unique(column.value_lengths().to_numpy()).tolist())
    if len(column) and lengths != {width}:
        raise ValueError(f"{name} has lists of {listed([str(each) for each in sorted(lengths)])}, expected {width}")
    values = column.flatten().cast(kind)
    if kind == pa.bool_():
        _all_there(values, name)
    return np.array(values.to_numpy(zero_copy_only=False)).reshape(len(column), width)


def codes(table: Any, names: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) index into `names` of the column `sequence`; KeyError for another name, ValueError for none."""
    column = table.column("sequence")
    _all_there(column, "sequence")
    places = {name: number for number, name in enumerate(names)}
    parts = [np.zeros(0, dtype=np.int64)]
    for chunk in column.chunks:
        used, inverse = np.unique(chunk.indices.to_numpy(), return_inverse=True)
        words = chunk.dictionary.take(pa.array(used)).to_pylist()
        parts.append(np.array([places[word] for word in words], dtype=np.int64)[inverse])
    return np.concatenate(parts)


def _all_there(column: Any, name: str) -> None:
    if column.null_count:
        raise ValueError(f"{name} is absent in {column.null_count} places")


def _is(kind: Any, wanted: str) -> bool:
    types = pa.types
    if wanted is _TEXT:
        value = kind.value_type if types.is_dictionary(kind) else kind
        return bool(types.is_string(value) or types.is_large_string(value))
    if wanted is _NUMBER:
        return bool(types.is_floating(kind))
    return bool(types.is_integer(kind) if wanted is _WHOLE else types.is_boolean(kind))


def _is_list(kind: Any, wanted: str) -> bool:
    types = pa.types
    some = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    return bool(some) and _is(kind.value_type, wanted)
