"""JSON label files on disk -> Python objects, with errors a user can act on."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import orjson

from harness.errors import DataError

__all__ = ["SUFFIXES", "read_json", "sequence_name"]

#: What a label file may end with, in the order they are looked for.
SUFFIXES = (".json", ".json.gz")


def sequence_name(path: Path) -> str:
    """Name of a label file without `.json` or `.json.gz`.

    >>> sequence_name(Path("val/000342_mpii_test.json.gz"))
    '000342_mpii_test'
    """
    return path.name.removesuffix(".gz").removesuffix(".json")


def read_json(path: Path) -> Any:
    """The parsed content of a `.json` or `.json.gz` file.

    Raises DataError for a file that is missing, unreadable, truncated or not JSON. `NaN` and `Infinity`, which are not
    JSON but which Python writes, are read here so that the record that holds them can be named.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); copy or download it again") from None
    if not data.strip():
        raise DataError(f"{path}: the file is empty; expected JSON. Copy or download it again")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _second_reading(path, data, error)


def _second_reading(path: Path, data: bytes, first: orjson.JSONDecodeError) -> Any:
    if b"NaN" in data or b"Infinity" in data:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            pass
    where = f"line {first.lineno}, column {first.colno}"
    ends = "; the file seems to be cut short" if first.pos >= len(data.rstrip()) - 1 else ""
    raise DataError(f"{path}: not valid JSON at {where} ({first.msg}){ends}. Copy or download it again") from None
