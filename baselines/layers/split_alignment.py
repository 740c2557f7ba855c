"""Support features brought to the key frame's in two paths: what moves in two steps, the rest in one (hmta spec 3)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, cosine_similarity, interpolate

from baselines.layers.deformable import DeformableConvolution
from baselines.layers.residual import chain

__all__ = ["Aggregate", "Gate", "Gathering", "GuidedStep", "Plain", "SplitAlignment"]

Gate = Literal["both", "target_only", "offsets_only"]
Plain = Literal["deformable", "identity"]
Gathering = Literal["similarity", "concat", "attention"]

_DILATION = 3


class GuidedStep(nn.Module):
    """A modulated deformable 3x3 convolution that reads where a guide says; it starts as a copy of its input.

    `bound` holds offsets within that many cells. With a `pyramid` of more than one level, offsets are also found on
    guides of half the size (a quarter, ...), where things move half as far, and added.
    """

    def __init__(self, channels: int, *, offset_groups: int, bound: float | None = None, pyramid: int = 1) -> None:
        super().__init__()
        self.bound = bound
        self.offsets = _starting_at_zero(channels, 18 * offset_groups)
        self.coarse_offsets = nn.ModuleList(_starting_at_zero(channels, 18 * offset_groups) for _ in range(pyramid - 1))
        self.modulation = _starting_at_zero(channels, 9 * offset_groups)
        self.deformable = DeformableConvolution(channels, channels, dilation=_DILATION, identity=True)

    def forward(self, maps: torch.Tensor, guide: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`maps` and `guide` (N,C,h,w) -> (aligned, offsets)."""
        offsets = self.offsets(guide)
        for level, layer in enumerate(self.coarse_offsets, start=1):
            coarse = layer(avg_pool2d(guide, 2**level))
            offsets = offsets + 2**level * interpolate(coarse, size=guide.shape[-2:], mode="bilinear")
        if self.bound is not None:
            offsets = self.bound * torch.tanh(offsets / self.bound)
        return self.deformable(maps, offsets, 2 * torch.sigmoid(self.modulation(guide))), offsets


def _starting_at_zero(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=_DILATION, dilation=_DILATION)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Aligned(NamedTuple):
    """Support features (N,C,h,w) at the key frame's places, and the offsets of every step, in cells."""

    maps: torch.Tensor
    offsets: tuple[torch.Tensor, ...]


class SplitAlignment(nn.Module):
    """Support and key features (N,C,h,w) and a mask (N,1,h,w) of what moves -> aligned support features.

    `gate` says what the mask hides before alignment: "both" sides, the support alone ("target_only"), or nothing, so
    that it only weighs the results ("offsets_only"). `plain` is what happens to the rest: one deformable convolution,
    or nothing. `motion` and `appearance` are the first and second step of what moves; one may be left out. `bound` and
    `pyramid` as in GuidedStep.
    """

    def __init__(
        self,
        channels: int,
        *,
        offset_groups: int = 12,
        gate: Gate = "both",
        plain: Plain = "deformable",
        motion: bool = True,
        appearance: bool = True,
        bound: float | None = None,
        pyramid: int = 1,
    ) -> None:
        super().__init__()
        self.gate = gate

        def guide() -> nn.Sequential:
            return chain(2 * channels, channels, 1)

        def step() -> GuidedStep:
            return GuidedStep(channels, offset_groups=offset_groups, bound=bound, pyramid=pyramid)

        self.motion = guide() if motion else None
        self.motion_guide = guide() if motion else None
        self.motion_step = step() if motion else None
        self.appearance_guide = guide() if appearance else None
        self.appearance_step = step() if appearance else None
        self.plain_guide = guide() if plain == "deformable" else None
        self.plain_step = step() if plain == "deformable" else None

    def forward(self, support: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> Aligned:
        """(N,C,h,w), (N,C,h,w), (N,1,h,w) -> Aligned."""
        salient, salient_key = self._gated(support, key, mask)
        plain, plain_key = self._gated(support, key, 1 - mask)
        offsets = []
        if self.motion is not None and self.motion_guide is not None and self.motion_step is not None:
            # signed: which way something went decides where to read
            motion = self.motion(torch.cat((support - key, mask.expand_as(key)), dim=1))
            salient, moved = self.motion_step(salient, self.motion_guide(torch.cat((motion, salient), dim=1)))
            offsets.append(moved)
        if self.appearance_guide is not None and self.appearance_step is not None:
            guide = self.appearance_guide(torch.cat((salient, salient_key), dim=1))
            salient, moved = self.appearance_step(salient, guide)
            offsets.append(moved)
        if self.plain_guide is not None and self.plain_step is not None:
            plain, moved = self.plain_step(plain, self.plain_guide(torch.cat((plain, plain_key), dim=1)))
            offsets.append(moved)
        return Aligned(mask * salient + (1 - mask) * plain, tuple(offsets))

    def _gated(
        self, support: torch.Tensor, key: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gated = support if self.gate == "offsets_only" else weight * support
        return gated, weight * key if self.gate == "both" else key


class Aggregate(nn.Module):
    """Aligned supports (S,B,C,h,w) and key features (B,C,h,w) -> one map (B,C,h,w).

    By "similarity" to the key cell by cell, so that supports that agree are not added up; by "attention" of the key; or
    by a chain of blocks over all of them ("concat").
    """

    def __init__(self, channels: int, *, supports: int, gathering: Gathering = "similarity") -> None:
        super().__init__()
        self.gathering = gathering
        if gathering == "concat":
            self.blocks = chain(supports * channels, channels, 2)
        elif gathering == "attention":
            self.query, self.keys, self.values = (nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, aligned: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """(S,B,C,h,w), (B,C,h,w) -> (B,C,h,w)."""
        if self.gathering == "concat":
            joined: torch.Tensor = self.blocks(aligned.transpose(0, 1).flatten(1, 2))
            return joined
        if self.gathering == "similarity":
            agreement, values = cosine_similarity(aligned, key[None], dim=2) / 0.1, aligned
        else:
            flat = aligned.flatten(0, 1)
            keys, values = (layer(flat).unflatten(0, aligned.shape[:2]) for layer in (self.keys, self.values))
            agreement = (keys * self.query(key)).sum(2) / key.shape[1] ** 0.5
        return (agreement.softmax(0)[:, :, None] * values).sum(0)
