"""From a slice's values to bins of every truth cell of a matched run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.scoring.matched import Matched
from harness.scoring.slices.footage import Footage, GreyImages
from harness.scoring.slices.registry import LEVELS, Level, Slice, slice_named

__all__ = ["UNKNOWN", "Assigned", "assign", "assign_all", "footage_of"]

#: The bin of what cannot be told.
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Assigned:
    """The bins of one slice over a run: `cells` (G,15) and `frames` (F,) of the scene, `UNKNOWN` where not known.

    `frames` is only there for slices of level "frame"; `edges` are those used, for the reader.
    """

    name: str
    level: Level
    bins: tuple[str, ...]
    cells: NDArray[np.int64]
    frames: NDArray[np.int64] | None = None
    edges: tuple[float, ...] | None = None

    def label(self, number: int) -> str:
        """The name in the slice column of `Scores`: "speed:fast"."""
        return f"{self.name}:{self.bins[number] if number >= 0 else 'unknown'}"


def footage_of(matched: Matched, images: GreyImages | None = None) -> tuple[Footage, ...]:
    """The footage of every sequence of a run; make it once for several slices, since it caches."""
    return tuple(Footage(sequence, images) for sequence in matched.sequences)


def assign(name: str, matched: Matched, footage: Iterable[Footage]) -> Assigned | None:
    """Bins of a slice, or of a crossing like "sharpness x speed"; None where it is not available.

    It is available when at least one sequence carries what it needs; the others are unknown. Raises UsageError for an
    unknown name.
    """
    parts = [_assign(part, matched, tuple(footage)) for part in slice_named(name)]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    result = known[0]
    for part in known[1:]:
        result = _crossed(result, part)
    return result


def assign_all(
    names: Iterable[str], matched: Matched, images: GreyImages | None = None
) -> tuple[list[Assigned], dict[str, str]]:
    """The available slices among `names`, and what the others would need, by name."""
    footage = footage_of(matched, images)
    found, lacking = [], {}
    for name in names:
        assigned = assign(name, matched, footage)
        if assigned is None:
            lacking[name] = " and ".join(part.needs for part in slice_named(name))
        else:
            found.append(assigned)
    return found, lacking


def _assign(part: Slice, matched: Matched, footage: tuple[Footage, ...]) -> Assigned | None:
    measured = [part.measure(item) for item in footage]
    if all(values is None for values in measured):
        return None
    shapes = [_shape(part.level, item) for item in footage]
    filled = [
        np.full(shape, np.nan) if values is None else _checked(part, values, shape)
        for values, shape in zip(measured, shapes, strict=True)
    ]
    values = np.concatenate(filled)[matched.frame_rows if part.level == "frame" else matched.truth_rows]
    if part.level == "joint":
        values[~matched.table.scene.truth.present] = np.nan
    edges = _quantiles(values, len(part.bins)) if part.quantiles else part.edges
    numbers = _binned(values, edges, len(part.bins))
    if part.level == "frame":
        return Assigned(
            part.name, part.level, part.bins, _cells(numbers[matched.table.scene.truth.frame]), numbers, edges
        )
    return Assigned(part.name, part.level, part.bins, _cells(numbers), edges=edges)


def _shape(level: Level, footage: Footage) -> tuple[int, ...]:
    if level == "frame":
        return (len(footage.sequence.frames),)
    return (len(footage), 15) if level == "joint" else (len(footage),)


def _checked(part: Slice, values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if np.shape(values) != shape:
        raise UsageError(
            f"slice '{part.name}' (level {part.level}) returned shape {np.shape(values)}, expected {shape}"
        )
    return np.asarray(values, dtype=np.float64)


def _quantiles(values: NDArray[np.float64], count: int) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    shares = np.arange(1, count) / count
    return tuple(np.quantile(known, shares).tolist()) if len(known) else (np.nan,) * (count - 1)


def _binned(values: NDArray[np.float64], edges: tuple[float, ...] | None, count: int) -> NDArray[np.int64]:
    """Bin numbers: `edges[k-1] < value <= edges[k]`, or the value itself; `UNKNOWN` for NaN.

    >>> _binned(np.array([0.1, 0.25, 0.3, np.nan]), (0.25, 0.5), 3).tolist()
    [0, 0, 1, -1]
    """
    unknown = np.isnan(values)
    plain = np.where(unknown, 0.0, values)
    numbers = plain.astype(np.int64) if edges is None else np.searchsorted(np.array(edges), plain, side="left")
    if ((numbers < 0) | (numbers >= count)).any():
        raise UsageError(f"a slice without edges returned bin {numbers.max()}, it has {count} bins")
    return np.where(unknown, UNKNOWN, numbers)


def _cells(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return numbers if numbers.ndim == 2 else np.broadcast_to(numbers[:, None], (len(numbers), 15))


def _crossed(first: Assigned, second: Assigned) -> Assigned:
    """Every bin of one slice with every bin of the other, at the finer level of the two."""
    level = min(first.level, second.level, key=LEVELS.index)
    bins = tuple(f"{left}/{right}" for left in first.bins for right in second.bins)
    frames = None
    if level == "frame" and first.frames is not None and second.frames is not None:
        frames = _product(first.frames, second.frames, len(second.bins))
    cells = _product(first.cells, second.cells, len(second.bins))
    return Assigned(f"{first.name} x {second.name}", level, bins, cells, frames)


def _product(left: NDArray[np.int64], right: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.where((left < 0) | (right < 0), UNKNOWN, left * count + right)
