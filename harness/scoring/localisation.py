"""How near joints are placed, for comparing codecs and decoders, which AP that forgives half a head hardly tells apart.

Both measures are over all annotated joints, so that methods which find other joints are still measured on the same
ones: a joint that is not found counts as farther off than any other. Source: pck of `endpoint.py`, resampled as in
specification of slices, section 7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.scoring.arms import Drawn
from harness.scoring.matched import Matched
from harness.scoring.replicates import bootstrap_draws
from harness.scoring.uncertainty import FEWEST_SEQUENCES, REPLICATES, clusters

__all__ = ["ERRORS", "draw_errors"]

#: Columns of `draw_errors`: pixels of the image within which half of all joints lie, percent within a tenth of a head.
ERRORS = ("median_px", "pckh_01")

_NEAR = 0.1
#: Draws handled at a time.
_BLOCK = 32


def draw_errors(matched: Matched, *, replicates: int = REPLICATES, seed: int = 0) -> Drawn:
    """A run's `ERRORS` over the same `replicates` draws of sequences that its AP is drawn with.

    A median is NaN where fewer than half of the joints are found.
    """
    table = matched.table
    person, joint = np.nonzero(table.scene.truth.present)
    found = table.predicted_of[person]
    heads = np.where(found >= 0, table.distance[found, joint], np.nan) if len(table.distance) else np.nan * person
    heads = np.where(np.isnan(heads), np.inf, heads)
    pixels = heads * table.scene.head[person]
    order = np.argsort(pixels, kind="stable")
    units = clusters(matched)
    unit = np.searchsorted(units, table.truth_sequence[person])
    all_once = np.ones((1, len(units)), dtype=np.int64)
    enough = len(units) >= FEWEST_SEQUENCES
    drawn = bootstrap_draws(len(units), replicates, seed=seed) if enough else all_once[:0]
    value, draws = (
        np.column_stack([_medians(pixels[order], unit[order], weights), _shares(heads <= _NEAR, unit, weights)])
        for weights in (all_once, drawn)
    )
    return Drawn(value[0], draws, np.full(len(ERRORS), len(person)), len(units))


def _medians(
    ascending: NDArray[np.float64], unit: NDArray[np.int64], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(B,) the smallest value with half of all at or below it, when unit u counts `weights[b, u]` times."""
    found = []
    for start in range(0, len(weights), _BLOCK):
        below = np.cumsum(weights[start : start + _BLOCK].astype(np.int32)[:, unit], axis=1)
        found += [ascending[np.searchsorted(row, -(-row[-1] // 2))] for row in below]
    values = np.array(found, dtype=np.float64)
    return np.where(np.isinf(values), np.nan, values)


def _shares(near: NDArray[np.bool_], unit: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(B,) percent of joints that are near."""
    there = np.bincount(unit, minlength=weights.shape[1])
    hits = np.bincount(unit, weights=near, minlength=weights.shape[1])
    share: NDArray[np.float64] = 100 * (weights @ hits) / (weights @ there)
    return share
