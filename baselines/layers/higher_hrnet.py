"""HigherHRNet: HRNet's first branch, heatmaps and tags at 1/4, and heatmaps once more at 1/2 (whole_frame.md 2.1).

Names of parameters are those of the official release.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from baselines.layers.hrnet import HRNetBranches
from baselines.layers.residual import BasicBlock
from harness.weights.sources import OFFICIAL, KeyMap

__all__ = ["HigherHRNetNetwork"]

_MMPOSE_0 = KeyMap(
    "mmpose 0.x",
    (
        ("keypoint_head.final_layers.", "final_layers."),
        ("keypoint_head.deconv_layers.", "deconv_layers."),
        ("backbone.", ""),
    ),
)


class HigherHRNetNetwork(HRNetBranches):
    """Frames (B,3,H,W) -> [heatmaps and tags (B,2J,H/4,W/4), heatmaps (B,J,H/2,W/2)], raw, no activation.

    The first output holds `joints` heatmaps and then `tags` tag maps (one per joint unless told otherwise). `options`
    are those of HRNetBranches; H and W are multiples of 32.
    """

    key_sources = (_MMPOSE_0, OFFICIAL)

    def __init__(self, width: int, *, joints: int = 17, tags: int | None = None, blocks: int = 4, **options: Any):
        """`blocks` counts the residual blocks of a branch of the trunk and of the head alike."""
        super().__init__(width, blocks=blocks, **options)
        channels = joints + (joints if tags is None else tags)
        heads = nn.Conv2d(width, channels, 1), nn.Conv2d(width, joints, 1)
        for head in heads:  # as released: an untrained network finds nobody, rather than hundreds
            nn.init.normal_(head.weight, std=1e-3)
            if head.bias is not None:
                nn.init.zeros_(head.bias)
        self.final_layers = nn.ModuleList(heads)
        enlarge = nn.Sequential(
            nn.ConvTranspose2d(width + channels, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        residuals = [nn.Sequential(BasicBlock(width, width)) for _ in range(blocks)]
        self.deconv_layers = nn.ModuleList([nn.Sequential(enlarge, *residuals)])

    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """(B,3,H,W) -> outputs at 1/4 and at 1/2."""
        features = self.branches(frames)[0]
        coarse = self.final_layers[0](features)
        fine = self.final_layers[1](self.deconv_layers[0](torch.cat([features, coarse], dim=1)))
        return [coarse, fine]
