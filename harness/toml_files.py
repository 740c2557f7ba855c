"""TOML files on disk -> tables, with errors a user can act on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from harness.errors import DataError, HarnessError
from harness.files import TooLargeError, read_plain

__all__ = ["read_toml"]

#: Bytes beyond which a file is no recipe, study, card or manifest, but something else named by mistake.
LARGEST = 4 * 2**20


def read_toml(path: Path, *, kind: type[HarnessError] = DataError, remedy: str = "correct it") -> dict[str, Any]:
    """The tables of a TOML file.

    Raises an error of `kind` that ends with the `remedy`, for a file that is missing, unreadable, very large, not TOML,
    nested deeper than Python follows or with a number of thousands of digits.
    """
    try:
        data = read_plain(path, most=LARGEST)
    except TooLargeError:
        raise kind(f"{path}: is larger than {LARGEST // 2**20} MiB, not a file written by hand; {remedy}") from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise kind(f"{path}: cannot be read ({reason}); {remedy}") from None
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as problem:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise kind(f"{path}: not valid TOML ({problem}); {remedy}") from None
