"""What outputs for whole frames should become: heatmaps of everyone, and offsets from centres to joints.

Joints are (B,P,J,2) px of the network input, padded with people whose joints all count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["FrameTargets", "gaussians", "heatmaps_of_all", "offset_targets"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FrameTargets:
    """Everyone in B frames: `joints` (B,P,J,2) px of an input of `size` (width, height), `known` (B,P,J) bool.

    `counted` (B,H,W) bool: px of the input that count, None for all; `areas` (B,P) px2 of boxes in the images.
    """

    joints: torch.Tensor
    known: torch.Tensor
    size: tuple[int, int]
    counted: torch.Tensor | None = None
    areas: torch.Tensor | None = None

    def on_grid(self, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints in cells of a grid of (width, height) over the input, and which are known and on it."""
        cells = self.joints * (self.joints.new_tensor(grid) / self.joints.new_tensor(self.size))
        inside = ((cells >= 0) & (cells < cells.new_tensor(grid))).all(dim=-1)
        return cells, self.known & inside

    def counted_on(self, grid: tuple[int, int]) -> torch.Tensor | None:
        """(B,1,h,w) which cells count, as the px of the input under each says; None for all of them."""
        if self.counted is None:
            return None
        columns, rows = (
            torch.arange(cells, device=self.counted.device) * length // cells
            for cells, length in zip(grid, self.size, strict=True)
        )
        return self.counted[:, None, rows[:, None], columns]


def heatmaps_of_all(cells: torch.Tensor, known: torch.Tensor, grid: tuple[int, int], *, sigma: float) -> torch.Tensor:
    """(B,J,h,w) Gaussians round whole cells, cut at 3 sigma + 1, the highest of all people (whole_frame.md 2.9).

    Places are truncated, so -0.5 is in column 0; those off the grid are left out.
    """
    return gaussians(torch.trunc(cells), known, grid, sigma=cells.new_full((cells.shape[2],), sigma))


def gaussians(
    centres: torch.Tensor, known: torch.Tensor, grid: tuple[int, int], *, sigma: torch.Tensor
) -> torch.Tensor:
    """(B,J,h,w) highest of Gaussians of `sigma` (J,) round `centres` (B,P,J,2), cut beyond 3 sigma + 1.

    The cut is at whole cells: that before the one, that after the other end. Centres off the grid are left out.
    """
    inside = ((centres >= 0) & (centres < centres.new_tensor(grid))).all(dim=-1)
    along, reach = [], (3 * sigma + 1)[:, None]
    for axis, length in enumerate(grid):
        middle = centres[..., axis, None]
        steps = torch.arange(length, device=centres.device)
        near = (steps >= (middle - reach).floor()) & (steps <= (middle + reach).ceil())
        along.append(torch.exp(-((steps - middle) ** 2) / (2 * sigma[:, None] ** 2)) * near)
    each = along[1][..., :, None] * along[0][..., None, :] * (known & inside)[..., None, None]
    return each.amax(dim=1) if centres.shape[1] else each.sum(dim=1)


def offset_targets(
    joints: Floats, known: NDArray[np.bool_], centres: Floats, areas: Floats, grid: tuple[int, int], *, reach: int = 4
) -> tuple[Floats, Floats]:
    """Offsets (2J,h,w), cell minus joint, in squares round the centres of people, and their weights, 1/sqrt(area).

    Joints (P,J,2), known (P,J), centres (P,2), areas (P,), 0 for people who teach nothing, all in cells of one frame.
    Where people overlap the smaller one has the cell; which one wrote it last is remembered for all joints together,
    as in the release (whole_frame.md 3.4).
    """
    width, height = grid
    count = joints.shape[1]
    offsets, weights = np.zeros((2, count, 2, height, width), dtype=np.float32)
    writer = np.zeros((height, width), dtype=np.float32)
    for person in np.flatnonzero(areas > 0).tolist():
        x, y = (int(value) for value in centres[person])
        columns = slice(max(x - reach, 0), min(x + reach, width))
        rows = slice(max(y - reach, 0), min(y + reach, height))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            continue
        cells = np.stack(np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)))
        for joint in np.flatnonzero(known[person]).tolist():
            there = offsets[joint, :, rows, columns]
            free = ~((there != 0).any(axis=0) & (writer[rows, columns] < areas[person]))
            wanted = cells - joints[person, joint][:, None, None]
            offsets[joint, :, rows, columns] = np.where(free, wanted, there)
            own = np.float32(1 / np.sqrt(areas[person]))
            weights[joint, :, rows, columns] = np.where(free, own, weights[joint, :, rows, columns])
            writer[rows, columns] = np.where(free, areas[person], writer[rows, columns])
    shape = (2 * count, height, width)
    return offsets.reshape(shape), weights.reshape(shape)
