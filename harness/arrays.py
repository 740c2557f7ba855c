"""Archives of arrays (.npz): read whole, or refused with the file named."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.files import read_plain

__all__ = ["read_arrays"]

#: Bytes that an archive may unpack to.
_LARGEST = 1 << 30

#: What numpy and zipfile raise for archives that are damaged or were made to do harm; NotImplementedError is zipfile's
#: word for a compression, or a version of the format, that it does not know.
_DAMAGE = (EOFError, KeyError, MemoryError, NotImplementedError, OverflowError, RuntimeError, TypeError, ValueError,
           struct.error, zipfile.BadZipFile, zlib.error)  # fmt: skip


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an archive by name; DataError where it is missing, damaged or no plain file, or above 1 GiB."""
    try:
        content = read_plain(path, most=_LARGEST)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _LARGEST:
            raise DataError(f"{path}: unpacks to {size} bytes, more than {_LARGEST}")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: np.asarray(stored[name]) for name in stored.files}
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror or problem})") from None
    except _DAMAGE as problem:
        raise DataError(f"{path}: is damaged, or no archive of arrays ({problem or type(problem).__name__})") from None
