"""The local step of FAMI-Pose: four modulated deformable convolutions in a row (fami spec 2.4)."""

from __future__ import annotations

import torch
from torch import nn

from baselines.layers.deformable import DeformableConvolution

__all__ = ["Calibration", "LocalStep"]


class Calibration(nn.Module):
    """One deformable 3x3 convolution whose offsets and modulation are read from another map of the same shape.

    The modulation is raw, without sigmoid: it may be negative, and near 0 the output is.
    """

    def __init__(self, channels: int, *, offset_groups: int, dilation: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(channels, 18 * offset_groups, 3, padding=dilation, dilation=dilation)
        self.modulation = nn.Conv2d(channels, 9 * offset_groups, 3, padding=dilation, dilation=dilation)
        self.deformable = DeformableConvolution(channels, channels, dilation=dilation)

    def forward(self, maps: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """`maps` and `guide` (B,C,h,w) -> (B,C,h,w)."""
        calibrated: torch.Tensor = self.deformable(maps, self.offsets(guide), self.modulation(guide))
        return calibrated


class LocalStep(nn.Module):
    """Support feature (B,C,h,w), calibrated by what a joint feature of support and key asks for.

    The first two convolutions work on the joint feature itself, the other two on the support feature; nothing lies
    between them.
    """

    def __init__(self, channels: int, *, offset_groups: int = 12, dilation: int = 3) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            Calibration(channels, offset_groups=offset_groups, dilation=dilation) for _ in range(4)
        )

    def forward(self, support: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
        """`support` and `joint` (B,C,h,w) -> (B,C,h,w)."""
        first, second, third, fourth = self.steps
        joint = first(joint, joint)
        joint = second(joint, joint)
        support = third(support, joint)
        aligned: torch.Tensor = fourth(support, support)
        return aligned
