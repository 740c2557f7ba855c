"""What all heatmap codecs share: the grid, its alignment with the input, activation, and mirroring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from harness.codecs.codec import Form, Geometry
from harness.codecs.peaks import mirror_maps

__all__ = ["Activation", "MapCodec", "gaussian_maps"]

Activation = Literal["none", "softmax"]

#: Stands for a joint without a place, far off every grid.
_NOWHERE = -1e6


@dataclass(kw_only=True, eq=False)
class MapCodec:
    """One map (h,w) per joint, outputs (B,J,h,w); subclasses say what is drawn and how it is read.

    `size` (width, height) of the network input and `stride` input px per cell; `sigma` in cells. `geometry` says how
    cells lie on the input: "plain" has cell 0 on px 0 and `stride` px per cell, "dark" and "udp" have the centres of
    the corner cells on those of the corner px (codecs spec 1.2-1.4). `flip_shift` moves flipped-back maps by one cell;
    None: where the geometry is plain. `activation` "softmax" reads the maps as logits over the cells, as training by
    cross-entropy leaves them, scaled so that a peak as sharp as the target scores 1.
    """

    form: ClassVar[Form] = "maps"

    size: tuple[int, int]
    sigma: float = 2.0
    stride: int = 4
    geometry: Geometry = "plain"
    flip_shift: bool | None = None
    activation: Activation = "none"

    @property
    def grid(self) -> tuple[int, int]:
        """Cells (width, height) of a map."""
        return self.size[0] // self.stride, self.size[1] // self.stride

    @property
    def sigmas(self) -> tuple[float, float]:
        """Sigma of x and of y, in cells."""
        return self.sigma, self.sigma

    def cells_of(self, joints: torch.Tensor) -> torch.Tensor:
        """(B,J,2) float64 cells of joints in input px, unrounded; far off the grid where a joint has no place."""
        joints = joints.double()
        if self.geometry == "plain":
            cells = joints / self.stride
        else:
            cells = joints * ((torch.tensor(self.grid) - 1.0) / (torch.tensor(self.size) - 1.0).double()).to(joints)
        return cells.nan_to_num(nan=_NOWHERE).clamp(_NOWHERE, -_NOWHERE)

    def activated(self, outputs: torch.Tensor) -> torch.Tensor:
        """Maps in float32, with the softmax over cells where the network gives logits."""
        maps = outputs.float()
        if self.activation == "none":
            return maps
        sigma_x, sigma_y = self.sigmas
        return maps.flatten(2).softmax(-1).view_as(maps) * (2 * torch.pi * sigma_x * sigma_y)

    def flip_back(self, outputs: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Maps of the mirrored input -> maps of the input."""
        shift = self.geometry == "plain" if self.flip_shift is None else self.flip_shift
        return mirror_maps(outputs, flip_order, shift=shift)

    def merge(self, outputs: torch.Tensor, mirrored: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Mean of the maps and the flipped-back maps."""
        return (outputs + self.flip_back(mirrored, flip_order)) * 0.5


def gaussian_maps(cells: torch.Tensor, grid: tuple[int, int], sigmas: tuple[float, float]) -> torch.Tensor:
    """(B,J,h,w) float32: a Gaussian of peak 1 over the whole map around `cells` (B,J,2), which need not be whole.

    >>> gaussian_maps(torch.tensor([[[1.0, 0.0]]]), (3, 1), (1.0, 1.0)).round(decimals=3).tolist()
    [[[[0.6069999933242798, 1.0, 0.6069999933242798]]]]
    """
    columns, rows = (
        torch.exp(-0.5 * ((torch.arange(length, device=cells.device) - cells[..., axis, None].double()) / sigma) ** 2)
        for axis, (length, sigma) in enumerate(zip(grid, sigmas, strict=True))
    )
    return rows.float()[..., :, None] * columns.float()[..., None, :]
