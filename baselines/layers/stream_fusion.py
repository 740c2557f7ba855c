"""How the two streams of the dual-stream network become one (dual_stream spec 3.5, 6)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from baselines.layers.vit import CrossBlock

__all__ = ["Fusion", "StreamFusion"]

#: `mutual` is the paper's idea: both attend each other, and every place weighs them.
Fusion = Literal["concat", "mean", "cross", "mutual"]


class StreamFusion(nn.Module):
    """Temporal and visual tokens, both (B,N,C) -> (B,N,C)."""

    def __init__(self, width: int, *, heads: int, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion
        if fusion == "concat":
            self.join = nn.Linear(2 * width, width)
        elif fusion == "cross":
            self.attend = CrossBlock(width, heads=heads)
        elif fusion == "mutual":
            self.to_visual, self.to_temporal = CrossBlock(width, heads=heads), CrossBlock(width, heads=heads)
            self.weigh = nn.Linear(2 * width, 2)

    def forward(self, temporal: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        """(B,N,C), (B,N,C) -> (B,N,C)."""
        if self.fusion == "mean":
            return (temporal + visual) / 2
        if self.fusion == "concat":
            joined: torch.Tensor = self.join(torch.cat((temporal, visual), dim=-1)) + visual
            return joined
        if self.fusion == "cross":
            attended: torch.Tensor = self.attend(temporal, visual)
            return attended
        both = torch.stack((self.to_visual(temporal, visual), self.to_temporal(visual, temporal)), dim=-2)
        shares: torch.Tensor = self.weigh(both.flatten(2)).softmax(-1)
        return (both * shares[..., None]).sum(-2)
