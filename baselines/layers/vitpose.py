"""ViTPose as a network: encoder and decoder, under the official names (dual_stream spec 7)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from baselines.layers.vit import VisionTransformer
from baselines.layers.vit_decoders import Decoder, make_decoder
from baselines.layers.vit_names import encoder_sources, sources
from harness.weights import KeyMap

__all__ = ["BASE", "LARGE", "TINY", "VitposeNetwork"]

BASE: dict[str, Any] = {"width": 768, "depth": 12, "heads": 12, "drop_path": 0.3}
LARGE: dict[str, Any] = {"width": 1024, "depth": 24, "heads": 16, "drop_path": 0.5}

#: For 128x96. A convolutional stem, since patches cut at once take long to learn from.
TINY: dict[str, Any] = {
    "grid": (8, 6), "width": 96, "depth": 6, "heads": 4, "stem": "convolutions", "decoder_width": 48,
}  # fmt: skip


class VitposeNetwork(nn.Module):
    """Images (B,3,16h,16w) -> heatmaps (B,joints,4h,4w); `encoder` are VisionTransformer's options."""

    def __init__(self, *, joints: int = 17, decoder: Decoder = "classic", decoder_width: int = 256, **encoder: Any):
        super().__init__()
        self.backbone = VisionTransformer(**encoder)
        self.keypoint_head = make_decoder(decoder, self.backbone.width, joints, width=decoder_width)

    @property
    def key_sources(self) -> tuple[KeyMap, ...]:
        """Checkpoints that hold the whole network."""
        return sources(len(self.backbone.blocks), self.backbone.grid)

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """Those, and checkpoints that hold the encoder alone."""
        return *self.key_sources, *encoder_sources(self.backbone.grid)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,16h,16w) -> heatmaps (B,joints,4h,4w)."""
        return self.read(self.backbone(images))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,16h,16w) -> maps (B,C,h,w), which the head and video methods read."""
        return self.backbone.as_maps(self.backbone(images))

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (B,h*w,C) -> heatmaps (B,joints,4h,4w)."""
        heatmaps: torch.Tensor = self.keypoint_head(self.backbone.as_maps(tokens))
        return heatmaps
