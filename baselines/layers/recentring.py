"""RMPE's symmetric spatial transformer: a network that straightens the crop, and its inverse for what comes of it.

Positions are normalised, -1..1 from edge to edge; theta (B,2,3) maps where something is shown to where it is read
(seed002_rest.md 1.5).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import grid_sample

from baselines.layers.residual import convolution

__all__ = ["Localisation", "centred", "inverse", "on_cells", "resampled"]


class Localisation(nn.Module):
    """Crops (B,3,H,W) -> theta (B,2,3); the identity at the start."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, width, stride=2),
            convolution(width, 2 * width, stride=2),
            convolution(2 * width, 2 * width, stride=2),
            convolution(2 * width, 4 * width, stride=2),
        )
        self.answer = nn.Linear(4 * width * 3, 6)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """(B,3,H,W) -> (B,2,3)."""
        features = self.features(crops)
        # what there is, and where its middle lies: a mean alone would not know of places
        height, width = features.shape[-2:]
        x = torch.linspace(-1, 1, width, dtype=features.dtype, device=features.device)
        y = torch.linspace(-1, 1, height, dtype=features.dtype, device=features.device)
        read = [features.mean((2, 3)), (features * x).mean((2, 3)), (features * y[:, None]).mean((2, 3))]
        change = self.answer(torch.cat(read, dim=1)).view(-1, 2, 3)
        # places in single precision whatever the features are: bfloat16 would round 100.25 px to 100
        theta: torch.Tensor = change.float() + torch.eye(2, 3, device=change.device)
        return theta


def inverse(theta: torch.Tensor) -> torch.Tensor:
    """The way back: [g1 g2] = [t1 t2]^-1, g3 = -[g1 g2] t3.

    >>> inverse(torch.tensor([[[2.0, 0.0, 0.5], [0.0, 4.0, 1.0]]])).tolist()
    [[[0.5, -0.0, -0.25], [-0.0, 0.25, -0.25]]]
    """
    (a, b, c), (d, e, f) = (row.unbind(-1) for row in theta.unbind(-2))
    size = a * e - b * d
    g = e / size, -b / size, -d / size, a / size
    rows = (g[0], g[1], -(g[0] * c + g[1] * f)), (g[2], g[3], -(g[2] * c + g[3] * f))
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def on_cells(theta: torch.Tensor, grid: tuple[int, int], *, stride: int, geometry: str = "plain") -> torch.Tensor:
    """Theta of an input as that of maps of `grid` (width, height) whose cell c lies on px `stride` c, not round it.

    In a `geometry` other than "plain" the corner cells lie on the corner px.
    """
    if geometry != "plain":
        cells = theta.new_tensor(grid)
        factor = (stride * cells - 1) / (stride * (cells - 1))
        turn = theta[:, :, :2] * factor / factor[:, None]
        return torch.cat([turn, (theta[:, :, 2] / factor)[:, :, None]], dim=2)
    apart = (stride - 1) / (stride * theta.new_tensor(grid))
    with torch.autocast(theta.device.type, enabled=False):
        moved = theta[:, :, 2] + apart - theta[:, :, :2] @ apart
    return torch.cat([theta[:, :, :2], moved[:, :, None]], dim=2)


def resampled(maps: torch.Tensor, theta: torch.Tensor, *, padding: str = "zeros") -> torch.Tensor:
    """(B,C,h,w) read where theta (B,2,3) says; outside there are zeros, or ("border") what is nearest."""
    height, width = maps.shape[-2:]
    x = (2 * torch.arange(width, dtype=theta.dtype, device=theta.device) + 1) / width - 1
    y = (2 * torch.arange(height, dtype=theta.dtype, device=theta.device) + 1) / height - 1
    places = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1)
    with torch.autocast(theta.device.type, enabled=False):
        read = torch.einsum("bij,hwj->bhwi", theta[:, :, :2], places) + theta[:, None, None, :, 2]
        found = grid_sample(maps.to(theta.dtype), read, padding_mode=padding, align_corners=False)
    return found.to(maps.dtype)


def centred(maps: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Target maps (B,J,h,w) moved so that the mean of the joints of some weight (B,J) lies in the middle."""
    height, width = maps.shape[-2:]
    total = maps.sum((2, 3))
    known = (weights > 0) & (total > 0)
    x = (2 * torch.arange(width, dtype=maps.dtype, device=maps.device) + 1) / width - 1
    y = (2 * torch.arange(height, dtype=maps.dtype, device=maps.device) + 1) / height - 1
    joints = torch.stack([maps.sum(2) @ x, maps.sum(3) @ y], dim=-1) / total.clamp_min(1e-12)[..., None]
    middle = (joints * known[..., None]).sum(1) / known.sum(1).clamp_min(1)[:, None]
    turn = torch.eye(2, dtype=maps.dtype, device=maps.device).expand(len(maps), 2, 2)
    return resampled(maps, torch.cat([turn, middle[:, :, None]], dim=2))
