"""Vision transformer as ViTPose uses it, under the official names (dual_stream spec 7)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from baselines.layers.residual import convolution

__all__ = [
    "Attention",
    "Block",
    "CrossBlock",
    "DropPath",
    "Mlp",
    "Stem",
    "VisionTransformer",
    "heads_apart",
    "norm",
    "normal",
    "reset",
]

_EPSILON = 1e-6
_PATCH = 16

Stem = Literal["patch", "convolutions"]


def norm(width: int) -> nn.LayerNorm:
    """The layer norm of every part here."""
    return nn.LayerNorm(width, eps=_EPSILON)


def normal(*shape: int) -> nn.Parameter:
    """A learned table that starts at N(0, 0.02)."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


def heads_apart(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(B,L,C) -> (B,heads,L,C/heads)."""
    return torch.unflatten(tokens, -1, (heads, -1)).transpose(1, 2)


class DropPath(nn.Module):
    """In training, leaves a branch out for whole samples with probability `rate` and enlarges what is left."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        """(B,...) -> (B,...)."""
        if not self.training or self.rate == 0:
            return branch
        kept = torch.rand((len(branch), *(1,) * (branch.ndim - 1)), device=branch.device) >= self.rate
        return branch * kept / (1 - self.rate)


class Attention(nn.Module):
    """Self-attention over tokens (B,L,C)."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B,L,C) -> (B,L,C)."""
        query, key, value = (heads_apart(part, self.heads) for part in self.qkv(tokens).chunk(3, dim=-1))
        mixed = scaled_dot_product_attention(query, key, value)
        attended: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return attended


class Mlp(nn.Module):
    """Two linear layers, exact GELU between them."""

    def __init__(self, width: int, *, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(...,C) -> (...,C)."""
        result: torch.Tensor = self.fc2(gelu(self.fc1(tokens)))
        return result


class Block(nn.Module):
    """Pre-norm attention and perceptron, each added to what came in."""

    def __init__(self, width: int, *, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = norm(width)
        self.attn = Attention(width, heads=heads)
        self.drop_path = DropPath(drop_path)
        self.norm2 = norm(width)
        self.mlp = Mlp(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B,L,C) -> (B,L,C)."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        result: torch.Tensor = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return result


class CrossBlock(nn.Module):
    """Tokens (B,L,C) attend others (B,M,C); attention and perceptron are added to what came in."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_others, self.norm_mlp = norm(width), norm(width), norm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = Mlp(width)

    def forward(self, tokens: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """(B,L,C), (B,M,C) -> (B,L,C)."""
        query = heads_apart(self.query(self.norm_query(tokens)), self.heads)
        key, value = (heads_apart(p, self.heads) for p in self.key_value(self.norm_others(others)).chunk(2, dim=-1))
        mixed = scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(mixed.transpose(1, 2).flatten(2))
        result: torch.Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return result


class _PatchEmbedding(nn.Module):
    """Images (B,3,H,W) -> maps (B,C,H/16,W/16): one 16x16 convolution, or five small ones, which learn sooner."""

    def __init__(self, width: int, stem: Stem) -> None:
        super().__init__()
        if stem == "patch":
            self.proj: nn.Module = nn.Conv2d(3, width, _PATCH, stride=_PATCH, padding=2)
            return
        widths = [3, *(max(width // divisor, 16) for divisor in (8, 4, 2, 1))]
        steps = [convolution(a, b, stride=2) for a, b in pairwise(widths)]
        self.proj = nn.Sequential(*steps, nn.Conv2d(width, width, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,H,W) -> (B,C,H/16,W/16)."""
        maps: torch.Tensor = self.proj(images)
        return maps


class VisionTransformer(nn.Module):
    """Images (B,3,16h,16w) -> tokens (B,h*w,C), row by row, after the last norm; `grid` is (h,w).

    The position table keeps the slot of the class token that MAE had, and which is added to every token.
    """

    def __init__(
        self,
        *,
        grid: tuple[int, int],
        width: int,
        depth: int,
        heads: int,
        drop_path: float = 0.0,
        stem: Stem = "patch",
    ) -> None:
        super().__init__()
        self.grid, self.width, self.heads = grid, width, heads
        self.pos_embed = normal(1, grid[0] * grid[1] + 1, width)
        self.patch_embed = _PatchEmbedding(width, stem)
        rates = [drop_path * place / max(depth - 1, 1) for place in range(depth)]
        self.blocks = nn.ModuleList(Block(width, heads=heads, drop_path=rate) for rate in rates)
        self.last_norm = norm(width)
        reset(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,16h,16w) -> (B,h*w,C)."""
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = tokens + (self.pos_embed[:, 1:] + self.pos_embed[:, :1])
        for block in self.blocks:
            tokens = block(tokens)
        result: torch.Tensor = self.last_norm(tokens)
        return result

    def as_maps(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B,h*w,C) -> (B,C,h,w)."""
        return torch.unflatten(tokens.transpose(1, 2), 2, self.grid)


def reset(module: nn.Module) -> None:
    """Linear layers start at N(0, 0.02) with biases of 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
