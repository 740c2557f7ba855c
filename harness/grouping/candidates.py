"""Peaks of heatmaps: the candidates that grouping starts from. Batched torch on any device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
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


def strongest(maps: torch.Tensor, count: int, *, kernel: int, least: float | None = None) -> Candidates:
    """The `count` highest peaks of every map (B,J,h,w).

    Those that do not exceed `least` need not be among them: zeros at cell 0 may stand in their place.
    """
    width = maps.shape[-1]
    if least is not None and maps.device.type == "cpu":
        return _above(maps, count, kernel, least)
    flat = only_peaks(maps, kernel).flatten(2)
    values, cells = flat.topk(min(count, flat.shape[-1]), dim=-1)
    return Candidates(values, cells, cells % width, torch.div(cells, width, rounding_mode="floor"))


def _above(maps: torch.Tensor, count: int, kernel: int, least: float) -> Candidates:
    """Peaks above `least`: few cells are, so that neighbours are asked for those alone."""
    *kind, height, width = maps.shape
    flat = maps.reshape(-1).numpy()
    cells = np.flatnonzero(flat > np.float32(least))
    steps = range(-(kernel // 2), kernel // 2 + 1)
    around = sorted(((down, right) for down in steps for right in steps), key=lambda step: max(map(abs, step)))
    for down, right in around[1:]:
        # what lies beyond the edge stands for the edge itself, which is a neighbour too or the cell
        y, x = np.divmod(cells % (height * width), width)
        y_step = np.clip(y + down, 0, height - 1) - y
        x_step = np.clip(x + right, 0, width - 1) - x
        cells = cells[flat[cells] >= flat[cells + y_step * width + x_step]]
    each, place = np.divmod(cells, height * width)
    order = np.lexsort((place, -flat[cells], each))
    each, place, values = each[order], place[order], flat[cells[order]]
    rank = np.arange(len(each)) - np.searchsorted(each, each)
    few = rank < min(count, height * width)
    found_values = np.zeros((int(np.prod(kind)), min(count, height * width)), dtype=flat.dtype)
    found_cells = np.zeros(found_values.shape, dtype=np.int64)
    found_values[each[few], rank[few]], found_cells[each[few], rank[few]] = values[few], place[few]
    shape = (*kind, found_values.shape[1])
    read, where = torch.from_numpy(found_values).view(shape), torch.from_numpy(found_cells).view(shape)
    return Candidates(read, where, where % width, torch.div(where, width, rounding_mode="floor"))
