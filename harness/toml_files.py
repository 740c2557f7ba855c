"""TOML files on disk -> tables, with errors a user can act on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from harness.errors import DataError, HarnessError

__all__ = ["read_toml"]

#: Bytes beyond which a file is no recipe, study, card or manifest, but something else named by mistake.
LARGEST = 4 * 2**20


def read_toml(path: Path, *, kind: type[HarnessError] = DataError, remedy: str = "correct it") -> dict[str, Any]:
    """The tables of a TOML file.

    Raises an error of `kind` that ends with the `remedy`, for a file that is missing, unreadable, very large, not TOML,
    nested deeper than Python follows or with a number of thousands of digits.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise kind(f"{path}: cannot be read ({reason}); {remedy}") from None
    if len(data) > LARGEST:
        raise kind(f"{path}: is larger than {LARGEST // 2**20} MiB, not a file written by hand; {remedy}")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as problem:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise kind(f"{path}: not valid TOML ({problem}); {remedy}") from None
