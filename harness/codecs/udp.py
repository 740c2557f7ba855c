"""UDP (Huang et al., CVPR 2020): unbiased data processing, with a Gaussian per joint or a disc and two offset maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from harness.codecs.blur import blur, neighbourhood
from harness.codecs.codec import Decoded, Form, Geometry, Targets, register_codec
from harness.codecs.heatmap import classic_window
from harness.codecs.maps import MapCodec, gaussian_maps
from harness.codecs.peaks import mirror_maps, peaks

__all__ = ["UdpCodec", "UdpOffsetCodec"]

#: Whose details: the original's, or those of mmpose 1.x.
Style = Literal["original", "mmpose"]


@dataclass(kw_only=True, eq=False)
class UdpCodec(MapCodec):
    """Maps (B,J,h,w) with a Gaussian around the joint itself in a window of cells (codecs spec 5.1, 5.2).

    `kernel` cells of smoothing before the Newton step. The two styles smooth differently at the border: the original
    mirrors the map there, mmpose sees zeros and restores the maximum; joints at the border differ by whole cells.
    """

    geometry: Geometry = "udp"
    kernel: int = 11
    style: Style = "original"

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> maps, zero three sigma from the joint's nearest cell."""
        cells, radius = self.cells_of(joints), int(3 * self.sigma)
        nearest, inside = classic_window(cells, self.grid, radius=radius)
        weights = weights.float() * inside
        in_x, in_y = (
            (torch.arange(length, device=cells.device) - nearest[..., axis, None]).abs() <= radius
            for axis, length in enumerate(self.grid)
        )
        window = in_y[..., :, None] & in_x[..., None, :] & (weights > 0.5)[..., None, None]
        return Targets(gaussian_maps(cells, self.grid, self.sigmas) * window, weights)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """Maps (B,J,h,w) -> joints in cells, unrounded; the score is the maximum before smoothing."""
        maps = self.activated(outputs)
        cells, scores = peaks(maps)
        if self.style == "mmpose":
            smooth = blur(maps, self.kernel, border="zero")
            smooth = smooth * (scores / smooth.amax(dim=(-2, -1)))[..., None, None]
        else:
            smooth = blur(maps, self.kernel, border="reflect")
        step = _newton_step(smooth, cells) * (scores > 0).unsqueeze(-1)
        return Decoded(cells + step, scores, (maps.shape[-1], maps.shape[-2]))


@dataclass(kw_only=True, eq=False)
class UdpOffsetCodec(MapCodec):
    """Three maps per joint, outputs (B,3J,h,w): a disc around it, and the offsets to it in x and y (spec 5.1, 5.3).

    The disc's radius is `radius` times the height of the map (mmpose: times its longer side). `kernel` cells of
    smoothing; the disc is smoothed by one of twice that and one more. mmpose leaves the offsets unsmoothed when
    reading and fills them beyond the disc when writing. `sigma` and `activation` mean nothing here.
    """

    form: ClassVar[Form] = "offset maps"

    geometry: Geometry = "udp"
    radius: float = 0.0546875
    kernel: int = 7
    style: Style = "original"

    @property
    def reach(self) -> float:
        """Radius of the disc in cells."""
        return self.radius * (max(self.grid) if self.style == "mmpose" else self.grid[1])

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> (B,3J,h,w); a joint off the grid keeps its weight, as upstream."""
        weights = weights.float() * joints.isfinite().all(-1)
        width, height = self.grid
        cells = self.cells_of(joints)
        offset_x = (cells[..., :1] - torch.arange(width, device=cells.device)) / self.reach
        offset_y = (cells[..., 1:] - torch.arange(height, device=cells.device)) / self.reach
        shape = (*cells.shape[:2], height, width)
        offset_x, offset_y = offset_x[..., None, :].expand(shape), offset_y[..., :, None].expand(shape)
        disc = (offset_x**2 + offset_y**2 <= 1).double()
        kept = disc if self.style == "original" else 1.0
        maps = torch.stack((disc, offset_x * kept, offset_y * kept), dim=2)
        maps = maps * (weights > 0.5)[..., None, None, None]
        return Targets(maps.flatten(1, 2).float(), weights)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """(B,3J,h,w) -> joints in cells, unrounded; the score is the maximum of the smoothed disc map."""
        discs, *offsets = (outputs[:, part::3].float() for part in range(3))
        cells, scores = peaks(blur(discs, 2 * self.kernel + 1, border="reflect"))
        if self.style == "original":
            offsets = [blur(maps, self.kernel, border="reflect") for maps in offsets]
        step = [neighbourhood(maps, cells, radius=0)[..., 0, 0] for maps in offsets]
        joints = cells + torch.stack(step, dim=-1) * self.reach * (scores > 0).unsqueeze(-1)
        return Decoded(joints, scores, (discs.shape[-1], discs.shape[-2]))

    def flip_back(self, outputs: torch.Tensor, flip_order: torch.Tensor) -> torch.Tensor:
        """Maps of the mirrored input -> maps of the input; offsets in x change their sign."""
        back = [mirror_maps(outputs[:, part::3], flip_order, shift=bool(self.flip_shift)) for part in range(3)]
        return torch.stack((back[0], -back[1], back[2]), dim=2).flatten(1, 2)


def _newton_step(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """(B,J,2) Newton step on the log map from differences of one cell (codecs spec 5.2); its length is not limited."""
    near = neighbourhood(maps, cells, radius=1).clamp(0.001, 50).log()
    centre = near[..., 1, 1]
    gradient_x = 0.5 * (near[..., 1, 2] - near[..., 1, 0])
    gradient_y = 0.5 * (near[..., 2, 1] - near[..., 0, 1])
    tiny = torch.finfo(torch.float32).eps
    xx = near[..., 1, 2] - 2 * centre + near[..., 1, 0] + tiny
    yy = near[..., 2, 1] - 2 * centre + near[..., 0, 1] + tiny
    sides = near[..., 1, 2] + near[..., 2, 1] + near[..., 1, 0] + near[..., 0, 1]
    xy = 0.5 * (near[..., 2, 2] + near[..., 0, 0] + 2 * centre - sides)
    determinant = xx * yy - xy * xy
    step = torch.stack((xy * gradient_y - yy * gradient_x, xy * gradient_x - xx * gradient_y), dim=-1)
    step = step / determinant.unsqueeze(-1)
    return torch.where(step.isfinite(), step, torch.zeros_like(step))


register_codec("udp", UdpCodec)
register_codec("udp_offset", UdpOffsetCodec)
