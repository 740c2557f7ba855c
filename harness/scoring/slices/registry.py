"""What a slice is, and the registry of slices: one small function each, users add theirs.

@register_slice("upper_body", level="joint", bins=("legs", "arms"), title="Arms against legs")
def upper_body(footage):
    above = footage.joints[..., 1] < footage.boxes[:, None, [1, 3]].mean(axis=2)
    return np.where(footage.labelled, above, np.nan)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.registry import Registry, load_plugins
from harness.scoring.slices.footage import Footage

__all__ = ["LEVELS", "Level", "Measure", "Slice", "register_slice", "slice_named", "slices"]

#: What a slice asks of: every joint of every person, every person, or every frame. The finest first.
Level = Literal["joint", "person", "frame"]
LEVELS: tuple[Level, ...] = ("joint", "person", "frame")

#: A value per joint (N,15), person (N,) or frame (F,) of a sequence, NaN for unknown; None where the data do not carry
#: what it needs.
Measure = Callable[[Footage], NDArray[np.float64] | None]


@dataclass(frozen=True)
class Slice:
    """A measure of the truth and how its values fall into named bins.

    With `edges` (ascending, one fewer than `bins`) bin k holds edges[k-1] < value <= edges[k]; with `quantiles` the
    edges are those that part the values of the data set evenly; with neither, the value is the number of its bin.
    `needs` says what a data set must carry, for "not available".
    """

    name: str
    level: Level
    bins: tuple[str, ...]
    measure: Measure
    title: str
    edges: tuple[float, ...] | None = None
    quantiles: bool = False
    needs: str = "labels that this data set does not carry"


def _load_built_in() -> None:
    for name in ("occlusion", "crowding", "motion", "scale", "sharpness"):
        importlib.import_module(f"harness.scoring.slices.{name}")


#: Slices of plugins are in it once the plugins are loaded, which importing torch makes slow: `slice_named` does it only
#: for a name that is not known yet.
slices: Registry[Slice] = Registry("slice", before_lookup=_load_built_in)


def register_slice(
    name: str,
    *,
    level: Level,
    bins: tuple[str, ...],
    title: str,
    edges: tuple[float, ...] | None = None,
    quantiles: bool = False,
    needs: str = "labels that this data set does not carry",
) -> Callable[[Measure], Measure]:
    """Make the decorated measure available as a slice by name; see `Slice` for the arguments."""
    if level not in LEVELS:
        raise UsageError(f"slice '{name}': unknown level '{level}'; choose {', '.join(LEVELS)}")
    if edges is not None and (len(edges) != len(bins) - 1 or list(edges) != sorted(set(edges))):
        raise UsageError(f"slice '{name}': {len(bins)} bins need {len(bins) - 1} ascending edges, got {edges}")
    if ":" in name or " x " in name or "unknown" in bins:
        raise UsageError(f"slice '{name}': a name holds neither ':' nor ' x ', and no bin is called 'unknown'")

    def registered(measure: Measure) -> Measure:
        slices.add(name, Slice(name, level, bins, measure, title, edges, quantiles, needs))
        return measure

    return registered


def slice_named(name: str) -> tuple[Slice, ...]:
    """The slices a name stands for: one, or the factors of a crossing like "sharpness x speed".

    >>> [part.name for part in slice_named("sharpness x speed")]
    ['sharpness', 'speed']
    """
    parts = name.split(" x ")
    if not all(part in slices for part in parts):
        load_plugins()
    return tuple(slices[part] for part in parts)
