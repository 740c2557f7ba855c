"""The control of a video method: its own backbone, with the same weights and crops, on the key frame alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from harness.errors import UsageError
from harness.inference.loaded import Loaded

__all__ = ["KeyFrameBackbone", "backbone_of"]


class KeyFrameBackbone(nn.Module):
    """Clips (B,1,3,H,W) -> the backbone's heatmaps (B,J,h,w)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> (B,J,h,w)."""
        heatmaps: torch.Tensor = self.backbone(clips[:, 0])
        return heatmaps


def backbone_of(method: Loaded) -> Loaded:
    """The method cut down to its backbone on the key frame; UsageError where it has none, or reads no heatmaps."""
    backbone = getattr(method.module, "backbone", None)
    if not isinstance(backbone, nn.Module) or method.codec.form != "maps":
        raise UsageError(
            f"method '{method.card.name}' has no backbone whose heatmaps codec '{method.preset.codec}' reads; "
            "leave out --also backbone"
        )
    alone = replace(method.preset, support=(0,))
    return replace(method, preset=alone, module=KeyFrameBackbone(backbone).eval())
