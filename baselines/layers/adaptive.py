"""Adaptive convolution: a 3x3 one whose taps are turned, stretched and moved at every pixel (dcpose spec 12.1)."""

from __future__ import annotations

import torch
from torch import nn

from baselines.layers.deformable import DeformableConvolution

__all__ = ["AdaptiveConvolution"]


class AdaptiveConvolution(nn.Module):
    """Maps (B,C,h,w) -> the same shape, added to the input.

    At each pixel a 2x2 matrix and a translation, both read from the maps, say where the nine taps lie. It starts as a
    convolution with its taps where they belong, which copies its input `gain` times (and so returns 1 + `gain` of it).
    `norm_act` puts batch normalisation before the sum and ReLU after it.
    """

    def __init__(self, channels: int, *, gain: float = 0.1, norm_act: bool = False) -> None:
        super().__init__()
        self.affine = nn.Conv2d(channels, 4, 3, padding=1)
        self.translation = nn.Conv2d(channels, 2, 3, padding=1)
        self.deformable = DeformableConvolution(channels, channels, bias=False, identity=True)
        self.norm = nn.BatchNorm2d(channels) if norm_act else None
        for layer in (self.affine, self.translation):
            nn.init.zeros_(layer.weight)
        # the identity matrix; from a random start near 0 all nine taps would fall on the centre
        for layer, bias in ((self.affine, [1.0, 0.0, 0.0, 1.0]), (self.translation, [0.0, 0.0])):
            layer.bias = nn.Parameter(torch.tensor(bias))
        self.deformable.weight.data *= gain

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B,C,h,w) -> (B,C,h,w)."""
        sampled: torch.Tensor = self.deformable(maps, self.offsets(maps))
        if self.norm is None:
            return maps + sampled
        normal: torch.Tensor = self.norm(sampled)
        return torch.relu(maps + normal)

    def offsets(self, maps: torch.Tensor) -> torch.Tensor:
        """(B,18,h,w): how far each tap is moved, y then x."""
        matrix: torch.Tensor = self.affine(maps).unflatten(1, (2, 2))
        y, x = torch.meshgrid(*[torch.arange(-1.0, 2.0, device=maps.device)] * 2, indexing="ij")
        taps = torch.stack((y.flatten(), x.flatten())).to(matrix)
        moved = torch.einsum("bijhw,jk->bkihw", matrix, taps) - taps.T[None, :, :, None, None]
        shift: torch.Tensor = self.translation(maps)
        return (moved + shift[:, None]).flatten(1, 2)
