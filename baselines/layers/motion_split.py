"""Where a frame moves more than it does on average: the split of HMTA, learned or true (hmta spec 3.2, 3.3)."""

from __future__ import annotations

from math import expm1, log
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, max_pool2d, softplus

__all__ = ["MotionSplit", "Split", "motion_score", "oracle_mask"]

Split = Literal["learned", "hard", "fixed", "none"]

_TEMPERATURE, _COLDEST, _HOTTEST = 0.1, 0.02, 1.0


def motion_score(difference: torch.Tensor) -> torch.Tensor:
    """Absolute differences (N,C,h,w) -> (N,1,h,w), where 1 is the motion of the average cell; 0 where nothing moves.

    >>> motion_score(torch.full((1, 2, 4, 4), 3.0)).round(decimals=4).unique()
    tensor([1.])
    """
    spread = max_pool2d(difference.mean(1, keepdim=True), 3, stride=1, padding=1)
    smoothed = avg_pool2d(spread, 3, stride=1, padding=1, count_include_pad=False)
    return smoothed / (smoothed.mean((2, 3), keepdim=True) + 1e-6)


def oracle_mask(
    key: torch.Tensor, supports: torch.Tensor, known: torch.Tensor, *, grid: tuple[int, int], radius: float = 6.0
) -> torch.Tensor:
    """The split that the labels give: 1 round joints that moved more than the median joint, 0 elsewhere.

    True joints of the key frame (B,J,2) and of the supports (S,B,J,2), in cells of a feature map of `grid` (width,
    height); `known` (S,B,J) where both are labelled. Returns (S,B,1,h,w), discs of `radius` cells at both places of a
    joint. A diagnosis: it needs labels, so what is read with it is no result of a method.

    >>> places = torch.tensor([[[1.0, 0.0], [4.0, 0.0]]])
    >>> moved = places[None] + torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    >>> oracle_mask(places, moved, torch.ones(1, 1, 2, dtype=bool), grid=(8, 1), radius=0.5).flatten().tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    """
    distance = (supports - key).norm(dim=-1).masked_fill(~known, torch.nan)
    moving = distance > distance.nanmedian(dim=-1, keepdim=True).values
    x, y = (torch.arange(length, device=key.device) for length in grid)
    mask = torch.zeros(*distance.shape[:2], grid[1], grid[0], dtype=torch.bool, device=key.device)
    for places in (key.expand_as(supports), supports):
        square_x = (x - places[..., :1]).square()[..., None, :]
        square_y = (y - places[..., 1:]).square()[..., :, None]
        mask |= ((square_x + square_y <= radius**2) & moving[..., None, None]).any(2)
    return mask[:, :, None].to(key.dtype)


class MotionSplit(nn.Module):
    """Absolute differences of features (N,C,h,w) -> how salient each cell is, (N,1,h,w) in 0..1, and threshold (N,1).

    `split` "learned": a soft threshold that the mean difference decides; "hard": 0 or 1, with the gradient of the soft
    one; "fixed": a soft threshold of 1; "none": all cells are salient.
    """

    def __init__(self, channels: int, *, split: Split = "learned", hidden: int = 16) -> None:
        super().__init__()
        self.split = split
        if split == "none":
            return
        self.smooth = nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate", bias=False)
        nn.init.constant_(self.smooth.weight, 1 / 9)
        if split != "fixed":
            self.temperature = nn.Parameter(torch.tensor(_TEMPERATURE))
            last = nn.Linear(hidden, 1)
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, log(expm1(1.0)))  # softplus makes a threshold of 1 of it
            self.threshold = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), last)

    def forward(self, difference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,C,h,w) -> (mask, threshold)."""
        ones = difference.new_ones(len(difference), 1)
        if self.split == "none":
            return torch.ones_like(difference[:, :1]), 0 * ones
        score = self.smooth(motion_score(difference))
        if self.split == "fixed":
            return torch.sigmoid((score - 1) / _TEMPERATURE), ones
        threshold = softplus(self.threshold(difference.mean((2, 3))))
        above = score - threshold[..., None, None]
        soft = torch.sigmoid(above / self.temperature.clamp(_COLDEST, _HOTTEST))
        return (soft if self.split == "learned" else (above > 0).to(soft) + (soft - soft.detach())), threshold
