"""JSON label files on disk -> Python objects, with errors a user can act on."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import orjson

from harness.errors import DataError
from harness.files import TooLargeError, read_plain

__all__ = ["SUFFIXES", "read_json", "sequence_name"]

#: What a label file may end with, in the order they are looked for.
SUFFIXES = (".json", ".json.gz")

#: Bytes, unpacked, that no label file of a data set comes near: reading more would only fill the memory.
LARGEST = 2**30


def sequence_name(path: Path) -> str:
    """Name of a label file without `.json` or `.json.gz`.

    >>> sequence_name(Path("val/000342_mpii_test.json.gz"))
    '000342_mpii_test'
    """
    return path.name.removesuffix(".gz").removesuffix(".json")


def read_json(path: Path) -> Any:
    """The parsed content of a `.json` or `.json.gz` file.

    Raises DataError for a file that is missing, unreadable, truncated, not JSON, or larger than 1 GiB. `NaN` and
    `Infinity`, which are not JSON but which Python writes, are read here so that the record that holds them can be
    named.
    """
    try:
        data = _unpacked(path, read_plain(path, most=LARGEST))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except TooLargeError:
        raise _too_large(path, "is") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); copy or download it again") from None
    if not data.strip():
        raise DataError(f"{path}: the file is empty; expected JSON. Copy or download it again")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _second_reading(path, data, error)


def _unpacked(path: Path, data: bytes) -> bytes:
    """The unpacked bytes of a file, stopping where there are too many: a few kilobytes may unpack to any number."""
    if data[:2] != b"\x1f\x8b":
        return data
    parts, size = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        while part := stream.read(2**20):
            parts.append(part)
            if (size := size + len(part)) > LARGEST:
                raise _too_large(path, "unpacks to")
    return b"".join(parts)


def _too_large(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what} more than {LARGEST:,} bytes, as no label file does; give one file per video")


def _second_reading(path: Path, data: bytes, first: orjson.JSONDecodeError) -> Any:
    if b"NaN" in data or b"Infinity" in data:
        try:
            document = json.loads(data)
            json.dumps(document, ensure_ascii=False).encode()  # no halves of characters, which nobody can write
            return document
        except (ValueError, RecursionError):
            pass
    where = f"line {first.lineno}, column {first.colno}"
    ends = "; the file seems to be cut short" if first.pos >= len(data.rstrip()) - 1 else ""
    raise DataError(f"{path}: not valid JSON at {where} ({first.msg}){ends}. Copy or download it again") from None
