"""The decoders of ViTPose, from token maps to heatmaps, under the official names (dual_stream spec 3.6, 7)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.functional import interpolate, relu

__all__ = ["ClassicDecoder", "Decoder", "SimpleDecoder", "make_decoder"]

Decoder = Literal["classic", "simple"]


class ClassicDecoder(nn.Module):
    """Maps (B,inputs,h,w) -> heatmaps (B,joints,4h,4w) by two transposed convolutions and a 1x1 one."""

    def __init__(self, inputs: int, joints: int, *, width: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (inputs, width):
            deconvolution = nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False)
            layers += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(width, joints, 1)
        _reset(self)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B,inputs,h,w) -> (B,joints,4h,4w)."""
        heatmaps: torch.Tensor = self.final_layer(self.deconv_layers(maps))
        return heatmaps


class SimpleDecoder(nn.Module):
    """Maps (B,inputs,h,w) -> heatmaps (B,joints,4h,4w) by ReLU, bilinear enlargement and one 3x3 convolution."""

    def __init__(self, inputs: int, joints: int) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(inputs, joints, 3, padding=1)
        _reset(self)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B,inputs,h,w) -> (B,joints,4h,4w)."""
        large = interpolate(relu(maps), scale_factor=4, mode="bilinear", align_corners=False)
        heatmaps: torch.Tensor = self.final_layer(large)
        return heatmaps


def make_decoder(kind: Decoder, inputs: int, joints: int, *, width: int) -> ClassicDecoder | SimpleDecoder:
    """The decoder of that name; `width` concerns the classic one."""
    return SimpleDecoder(inputs, joints) if kind == "simple" else ClassicDecoder(inputs, joints, width=width)


def _reset(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=0.001)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
