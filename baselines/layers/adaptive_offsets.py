"""DEKR's heads: heatmaps of joints and centres, and per joint a small network of its own that looks where it wants.

Names of parameters are those of the official release (whole_frame.md 3.1).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from baselines.layers.deformable import deform_conv2d
from baselines.layers.hrnet import HRNetBranches
from baselines.layers.residual import BasicBlock, convolution

__all__ = ["AdaptiveBlock", "DekrNetwork"]


class AdaptiveBlock(nn.Module):
    """(B,C,h,w) -> (B,C,h,w): a 3x3 convolution whose taps every pixel turns, stretches and moves, and a shortcut.

    The matrix and the shift come from the features themselves; both start at 0, where all taps read the centre.
    """

    regular_matrix: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        steps = torch.tensor([-1.0, 0.0, 1.0])
        self.register_buffer("regular_matrix", torch.stack([steps.repeat_interleave(3), steps.repeat(3)]))
        self.transform_matrix_conv = nn.Conv2d(width, 4, 3, padding=1)
        self.translation_conv = nn.Conv2d(width, 2, 3, padding=1)
        self.adapt_conv = _Weight(width)
        self.bn = nn.BatchNorm2d(width)
        for part in (self.transform_matrix_conv, self.translation_conv):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B,C,h,w) -> (B,C,h,w)."""
        matrix, shift = self.transform_matrix_conv(features), self.translation_conv(features)
        adapted = self.adapt_conv(features, self._offsets(matrix, shift))
        return torch.relu_(self.bn(adapted) + features)

    def _offsets(self, matrix: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """(B,4,h,w) and (B,2,h,w) -> (B,18,h,w): how far each tap is from its place in a plain convolution, y, x."""
        count, _, height, width = matrix.shape
        grid = self.regular_matrix
        # taps in rows, so that y and x of one tap lie side by side
        moved = torch.einsum("bachw,ct->btahw", matrix.view(count, 2, 2, height, width), grid)
        return (moved - grid.T[:, :, None, None] + shift[:, None]).reshape(count, 18, height, width)


class _Weight(nn.Module):
    """The weight of a 3x3 deformable convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, features: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        return deform_conv2d(features, offset, self.weight, padding=1)


class DekrNetwork(HRNetBranches):
    """Frames (B,3,H,W) -> heatmaps (B,J+1,H/4,W/4), the last of centres, and offsets (B,2J,H/4,W/4), x then y.

    A joint lies at its cell minus the offset. `per_joint` channels serve each joint.
    """

    def __init__(
        self,
        width: int,
        *,
        joints: int = 17,
        per_joint: int = 15,
        stem: int = 64,
        bottlenecks: int = 4,
        blocks: int = 4,
        modules: tuple[int, ...] = (1, 4, 3),
    ) -> None:
        super().__init__(
            width, stem=stem, bottlenecks=bottlenecks, blocks=blocks, modules=modules, only_first=False
        )  # fmt: skip
        inputs = sum(self.widths)
        self.transition_heatmap = convolution(inputs, width, kernel=1)
        self.transition_offset = convolution(inputs, per_joint * joints, kernel=1)
        self.head_heatmap = nn.Sequential(nn.Sequential(BasicBlock(width, width)), nn.Conv2d(width, joints + 1, 1))
        self.offset_feature_layers = nn.ModuleList(
            nn.Sequential(AdaptiveBlock(per_joint), AdaptiveBlock(per_joint)) for _ in range(joints)
        )
        self.offset_final_layer = nn.ModuleList(nn.Conv2d(per_joint, 2, 1) for _ in range(joints))

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,3,H,W) -> heatmaps and offsets."""
        first, *others = self.branches(frames)
        enlarged = [interpolate(other, size=first.shape[2:], mode="bilinear") for other in others]
        features = torch.cat([first, *enlarged], dim=1)
        heatmaps = self.head_heatmap(self.transition_heatmap(features))
        per_joint = self.transition_offset(features).chunk(len(self.offset_final_layer), dim=1)
        layers = zip(self.offset_feature_layers, self.offset_final_layer, per_joint, strict=True)
        return heatmaps, torch.cat([final(adapt(part)) for adapt, final, part in layers], dim=1)
