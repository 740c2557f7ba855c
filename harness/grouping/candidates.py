"""Peaks of heatmaps: the candidates that grouping starts from. Batched torch on any device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch.nn.functional import pad

__all__ = ["Candidates", "only_peaks", "strongest"]


@dataclass(frozen=True)
class Candidates:
    """The strongest peaks per map: `values` (B,J,M) falling, `cells` (B,J,M) row-major index, `x`, `y` (B,J,M)."""

    values: torch.Tensor
    cells: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor


def only_peaks(maps: torch.Tensor, kernel: int) -> torch.Tensor:
    """(B,J,h,w) -> the same with 0 wherever a cell within `kernel` // 2 is higher.

    >>> only_peaks(torch.tensor([[[[1.0, 3.0, 2.0, 2.0, 1.0]]]]), 3).tolist()
    [[[[0.0, 3.0, 0.0, 2.0, 0.0]]]]
    """
    pooled = pad(maps, (kernel // 2,) * 4, value=-torch.inf)
    # rows first and columns then, as maxima of shifted views: many times sooner than pooling on a CPU
    for axis in (3, 2):
        views = [pooled.narrow(axis, shift, maps.shape[axis]) for shift in range(kernel)]
        pooled = reduce(torch.maximum, views)
    return maps * (pooled == maps)


def strongest(maps: torch.Tensor, count: int, *, kernel: int) -> Candidates:
    """The `count` highest peaks of every map (B,J,h,w)."""
    width = maps.shape[-1]
    flat = only_peaks(maps, kernel).flatten(2)
    values, cells = flat.topk(min(count, flat.shape[-1]), dim=-1)
    return Candidates(values, cells, cells % width, torch.div(cells, width, rounding_mode="floor"))
