"""The space-time encoder of the dual-stream network: what the neighbours know, without a look at the key frame."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn

from baselines.layers.vit import Attention, Block, Mlp, norm, normal, reset

__all__ = ["Encoded", "Masking", "SpaceTimeEncoder", "hide"]

#: What of the neighbours is hidden in training: nothing, cubes of 2 frames by 2x2 tokens, or those or a whole frame.
Masking = Literal["none", "cube", "cube+frame"]


class Encoded(NamedTuple):
    """Neighbours (B,F,N,C), keypoint tokens (B,J,C) or (B,0,C), contextual tokens (B,N,C) or (B,0,C)."""

    frames: torch.Tensor
    keypoints: torch.Tensor
    context: torch.Tensor


class DividedBlock(nn.Module):
    """Attention over time at every place, then over space in every frame, then a perceptron (dual_stream spec 3.2).

    Tokens skip the first; for the second each frame has its copy of them, and the copies are averaged.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.norm_time, self.norm_space, self.norm_mlp = norm(width), norm(width), norm(width)
        self.time, self.space = Attention(width, heads=heads), Attention(width, heads=heads)
        self.mlp = Mlp(width)

    def forward(self, frames: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,F,N,C), (B,M,C) -> the same shapes."""
        count, moments, places, width = frames.shape
        along = self.norm_time(frames).transpose(1, 2).reshape(count * places, moments, width)
        frames = frames + self.time(along).view(count, places, moments, width).transpose(1, 2)
        beside = torch.cat((frames, tokens[:, None].expand(-1, moments, -1, -1)), dim=2).flatten(0, 1)
        seen = self.space(self.norm_space(beside)).unflatten(0, (count, moments))
        frames, tokens = frames + seen[:, :, :places], tokens + seen[:, :, places:].mean(1)
        return frames + self.mlp(self.norm_mlp(frames)), tokens + self.mlp(self.norm_mlp(tokens))


class SpaceTimeEncoder(nn.Module):
    """Neighbours (B,F,N,C) with their time embedding -> what they and the tokens become.

    `joint` blocks over everything at once, then `divided` ones. `joints` keypoint tokens, 0 for none; `context` adds N
    contextual tokens.
    """

    def __init__(
        self, width: int, *, heads: int, places: int, joints: int, context: bool, joint: int = 2, divided: int = 2
    ) -> None:
        super().__init__()
        self.space = nn.Parameter(torch.zeros(places, width))
        self.keypoints = normal(joints, width) if joints else None
        self.keypoint_positions = normal(joints, width) if joints else None
        self.context = normal(places, width) if context else None
        self.joint = nn.ModuleList(Block(width, heads=heads) for _ in range(joint))
        self.divided = nn.ModuleList(DividedBlock(width, heads=heads) for _ in range(divided))
        self.norm = norm(width)
        reset(self)

    def forward(self, frames: torch.Tensor) -> Encoded:
        """(B,F,N,C) -> the three, after the last norm."""
        count, moments, places = frames.shape[:3]
        frames, tokens = frames + self.space, self._tokens(count)
        together = torch.cat((frames.flatten(1, 2), tokens), dim=1)
        for block in self.joint:
            together = block(together)
        frames, tokens = (
            torch.unflatten(together[:, : moments * places], 1, (moments, places)),
            together[:, moments * places :],
        )
        for block in self.divided:
            frames, tokens = block(frames, tokens)
        tokens = self.norm(tokens)
        keypoints = 0 if self.keypoints is None else len(self.keypoints)
        return Encoded(self.norm(frames), tokens[:, :keypoints], tokens[:, keypoints:])

    def _tokens(self, count: int) -> torch.Tensor:
        """Keypoint, then contextual tokens with their positions (B,M,C)."""
        parts = [self.space[:0]]
        if self.keypoints is not None and self.keypoint_positions is not None:
            parts.append(self.keypoints + self.keypoint_positions)
        if self.context is not None:
            parts.append(self.context + self.space)
        return torch.cat(parts).expand(count, -1, -1)


def hide(frames: torch.Tensor, token: torch.Tensor, *, grid: tuple[int, int], masking: Masking) -> torch.Tensor:
    """Neighbours (B,4,h*w,C) with half of their cubes, or for half of the samples one whole frame, made `token` (C,).

    The ratios are ours, the paper's are not known (dual_stream spec 6).
    """
    count, device = len(frames), frames.device
    cubes = torch.rand((count, 2, grid[0] // 2, grid[1] // 2), device=device) < 0.5
    for axis in (1, 2, 3):
        cubes = cubes.repeat_interleave(2, dim=axis)
    hidden = cubes.flatten(2)
    if masking == "cube+frame":
        chosen = torch.randint(4, (count, 1), device=device) == torch.arange(4, device=device)
        whole = torch.rand((count, 1, 1), device=device) < 0.5
        hidden = torch.where(whole, chosen[:, :, None].expand_as(hidden), hidden)
    return torch.where(hidden[..., None], token, frames)
