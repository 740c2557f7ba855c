"""Highest cells of heatmaps, where every map decoder starts."""

from __future__ import annotations

import torch

__all__ = ["mirror_maps", "peaks"]


def peaks(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cell (B,J,2) int64 x, y and value (B,J) of each map's maximum; the first in row-major order where several tie.

    A map without a positive value has its cell at (0, 0) and keeps its maximum as value (codecs spec 3.1-3.2).

    >>> cells, values = peaks(torch.tensor([[[[0.0, 3.0], [3.0, 1.0]]]]))
    >>> cells.tolist(), values.tolist()
    ([[[1, 0]]], [[3.0]])
    """
    width = maps.shape[-1]
    values, places = maps.flatten(2).max(dim=2)
    cells = torch.stack((places % width, places // width), dim=-1)
    return cells * (values > 0).unsqueeze(-1), values


def mirror_maps(maps: torch.Tensor, flip_order: torch.Tensor, *, shift: bool) -> torch.Tensor:
    """Maps (B,J,h,w) of the mirrored input -> maps of the input (codecs spec 6).

    With `shift`, columns move one cell to the right and column 0 keeps its value: strided convolutions see a mirrored
    image one cell off.
    """
    mirrored = maps.flip(-1)[:, flip_order]
    return torch.cat((mirrored[..., :1], mirrored[..., :-1]), dim=-1) if shift else mirrored
