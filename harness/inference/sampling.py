"""Crops sampled on the device, many at a time, by the fixed-point rule of OpenCV: equal to its warp, bit for bit.

OpenCV inverts the matrix, rounds positions to 1/1024 px and then down to 1/32 px, and weighs four neighbours by
products of 32nds; black beyond the border. All of it fits 32-bit integers, so a GPU gives the grey levels of a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["sample"]

#: Positions are rounded to 1/1024 px, bilinear weights have steps of 1/32.
_FINE, _STEPS = 1024, 32
#: Half a step, in fine units, is added before the position is cut to steps.
_HALF = _FINE // _STEPS // 2

Floats = NDArray[np.float64]

#: Indices along one axis and their weights.
Tap = tuple[torch.Tensor, torch.Tensor]


def sample(picture: torch.Tensor, matrices: Floats, size: tuple[int, int]) -> torch.Tensor:
    """Crops (K,H,W,3) uint8 of a picture (H',W',3) uint8, on its device; `matrices` (K,2,3) map image to crop px.

    >>> ramp = torch.arange(4, dtype=torch.uint8).view(1, 4, 1).expand(2, 4, 3)
    >>> halves = sample(ramp * 10, np.array([[[1.0, 0, -0.5], [0, 1, 0]]]), (4, 1))
    >>> halves[0, 0, :, 0].tolist()  # half way between neighbours, rounded up; then the black border
    [5, 15, 25, 15]
    """
    inverse = _inverted(matrices)
    x, y = (_positions(inverse[:, axis], size, picture.device) for axis in (0, 1))
    left, right = _taps(x, picture.shape[1])
    upper, lower = _taps(y, picture.shape[0])
    flat, width = picture.reshape(-1, 3), picture.shape[1]
    total = torch.full(
        (len(matrices), size[1], size[0], 3), _STEPS * _STEPS // 2, dtype=torch.int32, device=flat.device
    )
    for row, row_weight in (upper, lower):
        for column, column_weight in (left, right):
            weight = (row_weight * column_weight).unsqueeze(-1)
            total += flat[row * width + column] * weight
    return (total >> 10).to(torch.uint8)


def _inverted(matrices: Floats) -> Floats:
    """(K,2,3) inverse maps, in the order of operations that decides their last bit."""
    (a, b, tx), (c, d, ty) = matrices[:, 0].T, matrices[:, 1].T
    determinant = a * d - b * c
    scale = np.divide(1.0, determinant, out=np.zeros_like(determinant), where=determinant != 0)
    a, b, c, d = d * scale, -b * scale, -c * scale, a * scale
    return np.stack([np.stack([a, b, -a * tx - b * ty], axis=1), np.stack([c, d, -c * tx - d * ty], axis=1)], axis=1)


def _positions(rows: Floats, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    """One coordinate of every crop pixel in the picture, in 32nds of a px: (K,1 or H,1 or W) int32."""
    along = np.rint(rows[:, :1] * np.arange(size[0]) * _FINE)
    down = np.rint((rows[:, 1:2] * np.arange(size[1]) + rows[:, 2:]) * _FINE)
    # An upright crop needs one row or one column of positions, not the whole grid.
    along = along if rows[:, 0].any() else along[:, :1]
    down = down if rows[:, 1].any() else down[:, :1]
    fine = [torch.from_numpy(part.astype(np.int32)).to(device, non_blocking=True) for part in (along, down)]
    return (fine[0][:, None, :] + fine[1][:, :, None] + _HALF) >> 5


def _taps(position: torch.Tensor, length: int) -> tuple[Tap, Tap]:
    """(index, weight) of the two neighbours along one axis; the weight of one outside the picture is 0."""
    first, part = position >> 5, position & (_STEPS - 1)
    near, far = (
        (index.clamp(0, length - 1).long(), weight * ((index >= 0) & (index < length)))
        for index, weight in ((first, _STEPS - part), (first + 1, part))
    )
    return near, far
