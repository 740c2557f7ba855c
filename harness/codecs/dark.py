"""DARK (Zhang et al., CVPR 2020): unquantised Gaussian targets, and a Taylor step on the logarithm of the map."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.codecs.blur import blur, neighbourhood
from harness.codecs.codec import Decoded, Geometry, Targets, register_codec
from harness.codecs.maps import MapCodec, gaussian_maps
from harness.codecs.peaks import peaks

__all__ = ["DarkCodec"]


@dataclass(kw_only=True, eq=False)
class DarkCodec(MapCodec):
    """Maps (B,J,h,w) with a Gaussian around the joint itself, read by a second-order step (codecs spec 4).

    `geometry` "dark" is DarkPose's alignment, "plain" that of mmpose's unbiased codec and of FAMI-Pose. `kernel` cells
    of smoothing before the step. With `elliptical`, sigma is split as the sides of the map are, sigma_y / sigma_x =
    sqrt(h / w), with the same product (codecs spec 7).

    >>> codec = DarkCodec(size=(128, 128), geometry="plain")
    >>> targets = codec.encode(torch.tensor([[[50.0, 61.0]]]), torch.ones(1, 1))
    >>> codec.decode(targets.values).joints.round(decimals=2).tolist()
    [[[12.5, 15.25]]]
    """

    geometry: Geometry = "dark"
    kernel: int = 11
    elliptical: bool = False

    @property
    def sigmas(self) -> tuple[float, float]:
        """Sigma of x and of y, in cells."""
        ratio = (self.grid[0] / self.grid[1]) ** 0.25 if self.elliptical else 1.0
        return self.sigma * ratio, self.sigma / ratio

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> maps over the whole grid; weight 0 three sigma off it."""
        cells = self.cells_of(joints)
        weights = weights.float() * self._near_grid(cells)
        maps = gaussian_maps(cells, self.grid, self.sigmas)
        return Targets(maps * (weights > 0.5)[..., None, None], weights)

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """Maps (B,J,h,w) -> joints in cells, unrounded; the score is the maximum before smoothing."""
        maps = self.activated(outputs)
        cells, scores = peaks(maps)
        smooth = blur(maps, self.kernel, border="zero")
        smooth = smooth * (scores / smooth.amax(dim=(-2, -1)))[..., None, None]
        joints = cells + _taylor_step(smooth, cells)
        return Decoded(joints, scores, (maps.shape[-1], maps.shape[-2]))

    def _near_grid(self, cells: torch.Tensor) -> torch.Tensor:
        reach = 3 * torch.tensor(self.sigmas, dtype=cells.dtype, device=cells.device)
        first, last = cells - reach, cells + reach + 1
        if self.geometry == "dark":  # DarkPose truncates here, mmpose does not
            first, last = first.trunc(), last.trunc()
        return ((first < torch.tensor(self.grid, device=cells.device)) & (last >= 0)).all(-1)


def _taylor_step(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """(B,J,2) step from the peak to the summit of the parabola through log values two cells away (codecs spec 4.2).

    Zero within two cells of the border and where the curvature is singular; its length is not limited, as upstream.
    """
    height, width = maps.shape[-2:]
    x, y = cells.unbind(-1)
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    near = neighbourhood(maps, cells, radius=2).clamp_min(1e-10).log()
    gradient_x = 0.5 * (near[..., 2, 3] - near[..., 2, 1])
    gradient_y = 0.5 * (near[..., 3, 2] - near[..., 1, 2])
    xx = 0.25 * (near[..., 2, 4] - 2 * near[..., 2, 2] + near[..., 2, 0])
    yy = 0.25 * (near[..., 4, 2] - 2 * near[..., 2, 2] + near[..., 0, 2])
    xy = 0.25 * (near[..., 3, 3] - near[..., 1, 3] - near[..., 3, 1] + near[..., 1, 1])
    determinant = xx * yy - xy * xy
    step = torch.stack((xy * gradient_y - yy * gradient_x, xy * gradient_x - xx * gradient_y), dim=-1)
    step = step / determinant.unsqueeze(-1)
    usable = (inside & (determinant != 0)).unsqueeze(-1) & step.isfinite()
    return torch.where(usable, step, torch.zeros_like(step))


register_codec("dark", DarkCodec)
