"""A method of one's own: a small network that sees the key frame and the one before it."""

import torch
from torch import nn

from harness.methods import CropSpec, MethodCard, Preset, register_method


class TwoFrames(nn.Module):
    """Clips (B,2,3,H,W) -> heatmaps (B,17,H/4,W/4); logits, since the codec below takes a softmax of them."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(6, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 7, padding=9, dilation=3, groups=width), nn.ReLU(),
            nn.Conv2d(width, 17, 1),
        )  # fmt: skip

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,2,3,H,W) -> (B,17,H/4,W/4)."""
        return self.layers(clips.flatten(1, 2))


register_method(
    MethodCard(
        name="two_frames",
        title="Two frames",
        summary="The example of the documentation: a small network on two frames.",
        licence="Apache-2.0",
        presets={
            "tiny": Preset(
                crop=CropSpec(size=(96, 128)), codec="heatmap", support=(0, -1), options={"width": 32},
                codec_options={"sigma": 1.5, "activation": "softmax"},
            )
        },
        build=lambda options: TwoFrames(**options),
    )
)  # fmt: skip
