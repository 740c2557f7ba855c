"""The control of a video method: its own backbone, with the same weights and crops, on the key frame alone.

Where the network hands out its backbone's heatmaps (`with_backbone`), both come from one pass; else, or where only the
control is missing, the backbone runs on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from harness.codecs import Codec, Decoded, SimccMapsCodec, build_codec
from harness.errors import UsageError
from harness.inference.loaded import Loaded
from harness.methods import Preset

__all__ = ["KeyFrameBackbone", "WithBackbone", "backbone_of", "hands_out_backbone", "together"]


class KeyFrameBackbone(nn.Module):
    """Clips (B,1,3,H,W) -> the backbone's heatmaps (B,J,h,w)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> (B,J,h,w)."""
        heatmaps: torch.Tensor = self.backbone(clips[:, 0])
        return heatmaps


class WithBackbone(nn.Module):
    """Clips (B,T,3,H,W) -> the outputs of a network, and its backbone's heatmaps of the key frame."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, clips: torch.Tensor) -> Any:
        """(B,T,3,H,W) -> both outputs."""
        return self.network.with_backbone(clips)


@dataclass(frozen=True)
class _BothCodecs:
    """Reads several outputs of one pass, each by its own codec."""

    codecs: tuple[Codec, ...]

    def decode(self, outputs: tuple[Any, ...]) -> tuple[Decoded, ...]:
        """Joints and scores of each."""
        return tuple(codec.decode(output) for codec, output in zip(self.codecs, outputs, strict=True))

    def merge(self, outputs: tuple[Any, ...], mirrored: tuple[Any, ...], order: torch.Tensor) -> tuple[Any, ...]:
        """Flip test of each."""
        each = zip(self.codecs, outputs, mirrored, strict=True)
        return tuple(codec.merge(output, turned, order) for codec, output, turned in each)


def backbone_of(method: Loaded) -> Loaded:
    """The method cut down to its backbone on the key frame; UsageError where it has none, or none with heatmaps."""
    backbone = getattr(method.module, "backbone", None)
    preset = _maps_of(method)
    if not isinstance(backbone, nn.Module) or preset is None:
        raise UsageError(
            f"method '{method.card.name}' has no backbone whose heatmaps codec '{method.preset.codec}' reads; "
            "leave out --also backbone"
        )
    alone = replace(preset, support=(0,), recurrent=())
    return replace(method, preset=alone, module=KeyFrameBackbone(backbone).eval(), reads=build_codec(alone))


def hands_out_backbone(method: Loaded) -> bool:
    """Whether one pass of the network can answer for its backbone on the key frame, too."""
    preset = method.preset
    return hasattr(method.module, "with_backbone") and 0 in preset.support and not preset.recurrent


def together(method: Loaded, control: Loaded) -> Loaded:
    """The method and its control as one, whose outputs are a pair."""
    codec: Any = _BothCodecs((method.codec, control.codec))
    return replace(method, module=WithBackbone(method.module), reads=codec)


def _maps_of(method: Loaded) -> Preset | None:
    """The preset with the codec that reads the backbone's heatmaps; None where the method has none."""
    codec, preset = method.codec, method.preset
    if codec.form == "maps":
        return preset
    if not isinstance(codec, SimccMapsCodec):
        return None
    maps = codec.maps
    options = {"sigma": maps.sigma, "stride": maps.stride, "activation": maps.activation, "geometry": maps.geometry}
    return replace(preset, codec="heatmap", codec_options=options)
