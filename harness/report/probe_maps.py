"""Features that an alignment probe kept for pictures: the archive beside its record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.arrays import read_arrays
from harness.errors import DataError

__all__ = ["read_maps"]

_NAME = re.compile(r"[0-9]+_([a-z_]+)")


def read_maps(path: Path) -> dict[str, NDArray[Any]]:
    """`<clip>_<kind>` -> map: crops (H,W,3), `offsets` (2,H,W), others (H,W), the same kinds of every clip.

    Raises DataError for a damaged file, and for one that holds anything else.
    """
    arrays = read_arrays(path)
    kinds: dict[str, set[str]] = {}
    for name, values in arrays.items():
        if (found := _NAME.fullmatch(name)) is None or not _fits(found[1], values):
            shown = f"{values.dtype} {values.shape}"
            raise DataError(f"{path}: '{name[:40]}' ({shown}) is no map of features; probe again with --overwrite")
        kinds.setdefault(name.split("_", 1)[0], set()).add(found[1])
    if not kinds or len(set(map(frozenset, kinds.values()))) > 1 or "key" not in next(iter(kinds.values())):
        raise DataError(f"{path}: lacks maps of some clips; probe again with --overwrite")
    return arrays


def _fits(kind: str, values: NDArray[Any]) -> bool:
    if values.dtype.kind not in "fiu" or not values.size:
        return False
    if "crop" in kind:
        return values.ndim == 3 and values.shape[2] == 3
    return values.ndim == 3 and values.shape[0] == 2 if kind == "offsets" else values.ndim == 2
