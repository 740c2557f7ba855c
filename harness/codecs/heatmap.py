"""The classic heatmap codec of SimpleBaseline, HRNet, DCPose and FAMI-Pose: quantised Gaussian, quarter-cell shift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from harness.codecs.codec import Decoded, Targets, register_codec
from harness.codecs.maps import MapCodec
from harness.codecs.peaks import peaks

__all__ = ["HeatmapCodec", "classic_window", "quarter_shift"]

Shift = Literal["both", "per_axis", "none"]


@dataclass(kw_only=True, eq=False)
class HeatmapCodec(MapCodec):
    """Maps (B,J,h,w) with a Gaussian of `sigma` cells at the joint's nearest cell (codecs spec 2, 3, 6).

    `shift` moves a decoded cell by a quarter towards its higher neighbour: "both" axes or none (HRNet), "per_axis"
    (mmpose), "none". The other options are those of MapCodec.

    >>> codec = HeatmapCodec(size=(32, 32), sigma=1.0)
    >>> targets = codec.encode(torch.tensor([[[12.0, 16.0]]]), torch.ones(1, 1))
    >>> codec.decode(targets.values).joints.tolist(), targets.weights.tolist()
    ([[[3.0, 4.0]]], [[1.0]])
    """

    shift: Shift = "both"

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> maps (B,J,h,w), zero for joints of weight 0 or off the grid."""
        radius = int(3 * self.sigma)
        cells, inside = classic_window(self.cells_of(joints), self.grid, radius=radius)
        weights = weights.float() * inside
        patch = torch.from_numpy(_padded_patch(self.sigma)).to(joints.device)
        columns, rows = (
            (torch.arange(length, device=joints.device) - cells[..., axis, None] + radius + 1).clamp(0, 2 * radius + 2)
            for axis, length in enumerate(self.grid)
        )
        maps = patch[rows[..., :, None], columns[..., None, :]]
        return Targets(maps * (weights > 0.5)[..., None, None], weights)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """Maps (B,J,h,w) -> joints in cells; the score is the map's maximum, unclipped."""
        maps = self.activated(outputs)
        cells, scores = peaks(maps)
        joints = cells.float()
        if self.shift != "none":
            joints = joints + quarter_shift(maps, cells, per_axis=self.shift == "per_axis")
        return Decoded(joints, scores, (maps.shape[-1], maps.shape[-2]))


def classic_window(cells: torch.Tensor, grid: tuple[int, int], *, radius: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest cells (B,J,2) int64 of unrounded ones, and (B,J) whether a window around them meets the grid."""
    # float64 as in the original: the truncated cell of x.5 would differ in float32
    nearest = (cells.double() + 0.5).trunc().long()
    limits = torch.tensor(grid, device=cells.device)
    return nearest, ((nearest - radius < limits) & (nearest + radius + 1 >= 0)).all(-1)


def quarter_shift(maps: torch.Tensor, cells: torch.Tensor, *, per_axis: bool) -> torch.Tensor:
    """(B,J,2) of -0.25, 0 or 0.25: a quarter cell towards the higher neighbour of `cells` (codecs spec 3.3).

    Cells 2..w-2 and 2..h-2 are shifted; outside neither axis is, unless `per_axis` tests each on its own.
    """
    height, width = maps.shape[-2:]
    x, y = cells.unbind(-1)
    near_x, near_y = x.clamp(1, width - 2), y.clamp(1, height - 2)
    flat = maps.flatten(2)

    def value(column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return flat.gather(2, (row * width + column).unsqueeze(-1)).squeeze(-1)

    in_x, in_y = (x > 1) & (x < width - 1), (y > 1) & (y < height - 1)
    shift_x, shift_y = (in_x & (y > 0), in_y & (x > 0)) if per_axis else (in_x & in_y, in_x & in_y)
    slope_x = torch.sign(value(near_x + 1, y) - value(near_x - 1, y)) * shift_x
    slope_y = torch.sign(value(x, near_y + 1) - value(x, near_y - 1)) * shift_y
    return torch.stack((slope_x, slope_y), dim=-1) * 0.25


@lru_cache(maxsize=16)
def _padded_patch(sigma: float) -> NDArray[np.float32]:
    """(2r+3, 2r+3) Gaussian of radius r = floor(3 sigma) and peak 1 in a border of zeros, which all far cells read."""
    radius = int(3 * sigma)
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    squares = offsets**2 + offsets[:, None] ** 2
    return np.pad(np.exp(-squares / np.float32(2 * sigma**2)), 1)


register_codec("heatmap", HeatmapCodec)
