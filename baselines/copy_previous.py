"""copy_previous: a control that shows how much of a score is owed to people hardly moving between two frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from baselines.layers.hrnet import TINY, HRNet
from baselines.layers.vitpose import TINY as TINY_VITPOSE
from baselines.layers.vitpose import VitposeNetwork
from harness.methods import CropSpec, MethodCard, Preset, register_method

__all__ = ["CopyPrevious", "CopyPreviousVitpose", "card"]


class CopyPrevious(HRNet):
    """Tiny HRNet, with the same weights, on a clip that holds the previous frame alone."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> heatmaps (B,J,H/4,W/4)."""
        return super().forward(clips[:, 0])


class CopyPreviousVitpose(VitposeNetwork):
    """Tiny ViTPose in the same place: the control of what is built on it."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,16h,16w) -> heatmaps (B,J,4h,4w)."""
        return super().forward(clips[:, 0])


def _build(options: Mapping[str, Any]) -> CopyPrevious | CopyPreviousVitpose:
    """The network that `network` names, hrnet or vitpose, with the other options."""
    others = {key: value for key, value in options.items() if key != "network"}
    return (CopyPreviousVitpose if options["network"] == "vitpose" else CopyPrevious)(**others)


_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="heatmap",
    codec_options={"sigma": 1.5, "activation": "softmax"},
    support=(-1,),
    box_offset=-1,
    options={"network": "hrnet", **TINY},
    weights="hrnet-tiny",
)

card = register_method(
    MethodCard(
        name="copy_previous",
        title="Copy of the previous frame",
        summary=(
            "The pose that a tiny network finds in the previous frame, in the previous box of the same track, left as "
            "it is: a method that uses time has to beat it where people move."
        ),
        presets={
            "tiny": _tiny,
            "tiny-vitpose": replace(
                _tiny, options={"network": "vitpose", **TINY_VITPOSE}, weights="vitpose-tiny-backbone"
            ),
        },
        build=_build,
        licence="Apache-2.0",
        notes=(
            "Needs boxes with track ids. At the start of a track the current frame is used: there it equals its "
            "network. `tiny` copies HRNet-tiny's pose, `tiny-vitpose` the ViT backbone's, for what is built on it."
        ),
    )
)
