"""Soft-argmax (DSNT, Nibali et al. 2018): the joint is the mean place under the map taken as a distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.codecs.codec import Decoded, Targets, register_codec
from harness.codecs.maps import Activation, MapCodec, gaussian_maps

__all__ = ["DsntCodec", "expected_cells"]


@dataclass(kw_only=True, eq=False)
class DsntCodec(MapCodec):
    """Maps (B,J,h,w) of logits whose softmax is a distribution over the cells (seed002_rest spec 2.1).

    Targets are the normalised Gaussian that the method's regularisers compare with; losses on coordinates take
    `decode`, which has gradients everywhere. With `activation` "none" the maps are no logits, and their positive part
    over its sum is the distribution. The score is the highest probability, 1 for a peak as sharp as the target.
    """

    activation: Activation = "softmax"

    def encode(self, joints: torch.Tensor, weights: torch.Tensor) -> Targets:
        """Joints (B,J,2) input px, weights (B,J) -> maps of sum 1 and cells; a joint outside the grid gets weight 0."""
        cells = self.cells_of(joints)
        limits = torch.tensor(self.grid, device=joints.device) - 0.5
        weights = weights.float() * ((cells >= -0.5) & (cells <= limits)).all(-1)
        maps = gaussian_maps(cells, self.grid, self.sigmas)
        maps = maps / (maps.sum(dim=(-2, -1), keepdim=True) + 1e-24)
        known = (weights > 0.5)[..., None]
        return Targets(maps * known[..., None], weights, places=torch.where(known, cells.float(), 0))

    def decode(self, outputs: torch.Tensor) -> Decoded:
        """Maps (B,J,h,w) -> mean cells (B,J,2) and the highest probability, scaled."""
        probabilities = self.probabilities(outputs)
        peak = probabilities.flatten(2).amax(-1) * (2 * torch.pi * self.sigma**2)
        return Decoded(expected_cells(probabilities), peak, (outputs.shape[-1], outputs.shape[-2]))

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor:
        """Maps (B,J,h,w) -> the distributions they stand for."""
        maps = outputs.float()
        if self.activation == "softmax":
            return maps.flatten(2).softmax(-1).view_as(maps)
        maps = maps.clamp_min(0)
        return maps / maps.sum(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def expected_cells(probabilities: torch.Tensor) -> torch.Tensor:
    """(B,J,2) mean cell x, y of distributions (B,J,h,w), with gradients.

    >>> maps = torch.tensor([[[[0.25, 0.75], [0.0, 0.0]]]])
    >>> expected_cells(maps).tolist()
    [[[0.75, 0.0]]]
    """
    height, width = probabilities.shape[-2:]
    columns = torch.arange(width, dtype=probabilities.dtype, device=probabilities.device)
    rows = torch.arange(height, dtype=probabilities.dtype, device=probabilities.device)
    return torch.stack((probabilities.sum(-2) @ columns, probabilities.sum(-1) @ rows), dim=-1)


register_codec("dsnt", DsntCodec)
