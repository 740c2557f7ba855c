"""The global step of FAMI-Pose: one motion per pair of feature maps, and maps moved by it (fami spec 2.2)."""

from __future__ import annotations

from math import prod

import torch
from torch import nn
from torch.nn.functional import grid_sample

from baselines.layers.residual import chain

__all__ = ["Motion", "displaced", "move"]


class Motion(nn.Module):
    """Difference of two feature maps (N,channels,h,w) -> motion (N,2): x and y in cells, unbounded.

    With `affine`, (N,6): the linear part follows, see `move`; it starts at the identity. `grid` (h,w) is the size of
    the maps and `halvings` how often it is halved before the linear layers, between which there is no activation.
    """

    def __init__(
        self,
        channels: int,
        *,
        grid: tuple[int, int],
        width: int = 16,
        halvings: int = 5,
        hidden: int = 64,
        affine: bool = False,
    ) -> None:
        super().__init__()
        self.block = chain(channels, width, 1)
        self.halve = nn.Sequential(*(_halving(width) for _ in range(halvings)))
        cells = prod(-(-side // 2**halvings) for side in grid)
        self.linear = nn.Sequential(
            nn.Linear(width * cells, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 6 if affine else 2)
        )

    def forward(self, difference: torch.Tensor) -> torch.Tensor:
        """(N,channels,h,w) -> (N,2) or (N,6)."""
        motion: torch.Tensor = self.linear(self.halve(self.block(difference)).flatten(1))
        return motion

    def reset(self) -> None:
        """Linear layers as the framework makes them but without bias; the linear part of an affine motion is 0."""
        layers = [layer for layer in self.linear.children() if isinstance(layer, nn.Linear)]
        for layer in layers:
            layer.reset_parameters()
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(layers[-1].weight[2:])


def move(maps: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """Maps (N,C,h,w) moved by (N,2) cells: out[y, x] = maps[y - ty, x - tx], bilinear, 0 beyond the border.

    Motion (N,6) = tx, ty, a, b, c, d: out[p] = maps[o + L (p - t - o)] with L = [[1 + a, b], [c, 1 + d]] and o the
    middle of the map, so that with a = b = c = d = 0 it is the translation.

    >>> ramp = torch.arange(4.0).expand(1, 1, 2, 4)
    >>> move(ramp, torch.tensor([[1.0, 0.0]]))[0, 0, 0].tolist()
    [0.0, 0.0, 1.0, 2.0]
    """
    height, width = maps.shape[-2:]
    reach = motion.new_tensor([max(width - 1, 1), max(height - 1, 1)], dtype=torch.float32)
    places = _read_at(motion.float(), height, width)
    return grid_sample(maps, places / reach * 2 - 1, padding_mode="zeros", align_corners=True)


def displaced(motion: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
    """(N,2,h,w) how far from each cell `move` reads, x and y in cells.

    >>> displaced(torch.tensor([[1.0, 0.0]]), (2, 2))[0, :, 0, 0].tolist()
    [-1.0, 0.0]
    """
    still = _read_at(torch.zeros_like(motion[:, :2]).float(), *grid)
    return (_read_at(motion.float(), *grid) - still).permute(0, 3, 1, 2)


def _read_at(motion: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(N,h,w,2) x and y of where each cell is read."""
    columns = torch.arange(width, device=motion.device, dtype=motion.dtype)
    rows = torch.arange(height, device=motion.device, dtype=motion.dtype)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1) - motion[:, None, None, :2]
    if motion.shape[-1] == 6:
        middle = (motion.new_tensor([width, height]) - 1) / 2
        places = places + (places - middle) @ motion[:, None, 2:].reshape(-1, 1, 2, 2).mT
    return places


def _halving(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
