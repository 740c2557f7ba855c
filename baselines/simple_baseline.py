"""SimpleBaseline (Xiao et al., ECCV 2018): a ResNet and three transposed convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from baselines.layers.resnet import DeconvolutionHead, ResNet
from harness.methods import CropSpec, MethodCard, Preset, Published, register_method
from harness.weights import OFFICIAL, KeyMap

__all__ = ["SimpleBaseline", "card"]

_MMPOSE = KeyMap(
    "mmpose 1.x",
    (
        ("head.deconv_layers.", "deconv_layers."),
        ("head.final_layer.", "final_layer."),
        ("backbone.", ""),
    ),
)
_MMPOSE_0 = KeyMap(
    "mmpose 0.x", tuple((theirs.replace("head.", "keypoint_head."), ours) for theirs, ours in _MMPOSE.prefixes)
)


class SimpleBaseline(ResNet):
    """The network on the only frame of a clip; its parameters are named as in the official release."""

    key_sources: ClassVar[tuple[KeyMap, ...]] = (_MMPOSE, _MMPOSE_0, OFFICIAL)

    def __init__(self, depth: int, *, joints: int = 17, width: int = 64, head_width: int = 256) -> None:
        super().__init__(depth, width=width)
        self.deconv_layers = DeconvolutionHead(self.channels, width=head_width)
        self.final_layer = nn.Conv2d(head_width, joints, 1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,H,W) -> heatmaps (B,J,H/4,W/4)."""
        heatmaps: torch.Tensor = self.final_layer(self.deconv_layers(self.features(clips[:, 0])))
        return heatmaps


def _build(options: Mapping[str, Any]) -> SimpleBaseline:
    """The network of a preset, whose options are SimpleBaseline's own."""
    return SimpleBaseline(**options)


def _paper(depth: int, size: tuple[int, int], *, sigma: float, colour: str = "bgr") -> Preset:
    return Preset(
        crop=CropSpec(size=size, colour=colour), codec="heatmap", codec_options={"sigma": sigma},
        options={"depth": depth},
    )  # fmt: skip


_SMALL, _LARGE = (192, 256), (288, 384)

_NOTES = """\
What the paper says. A ResNet and three deconvolutions, nothing else, make a strong baseline.

What the released code does. The networks are fed BGR, normalised channel by channel with the numbers meant for RGB. \
Published costs (8.9 for ResNet-50 at 256x192, in 2^30) count four times the products of the deconvolutions; those \
below are what is made.

What we do. The network is equal to the release's. Presets r50 and r152 are fed BGR like the release's, mmpose's \
RGB: use the mmpose preset for its checkpoints. `tiny` is ours (ResNet-18 at a quarter of its width), for the \
embedded data, and is fed RGB.

Weights. The authors publish COCO and MPII checkpoints, none trained on PoseTrack; mmpose publishes ResNet-50 on \
PoseTrack18. All load by --weights, none was fetched here. Those of `tiny` are shipped."""

card = register_method(
    MethodCard(
        name="simple_baseline",
        title="SimpleBaseline",
        summary="One frame, a ResNet and three transposed convolutions, heatmaps: the baseline before HRNet.",
        paper="Xiao, Wu, Wei: Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018",
        year=2018,
        licence="MIT (original release); this implementation Apache-2.0",
        presets={
            "tiny": Preset(
                weights="simple_baseline-tiny",
                crop=CropSpec(size=(96, 128)),
                codec="heatmap",
                codec_options={"sigma": 1.5, "activation": "softmax"},
                options={"depth": 18, "width": 16, "head_width": 48},
            ),
            "r50-256x192": _paper(50, _SMALL, sigma=2.0),
            "r50-384x288": _paper(50, _LARGE, sigma=3.0),
            "r152-256x192": _paper(152, _SMALL, sigma=2.0),
            "r152-384x288": _paper(152, _LARGE, sigma=3.0),
            "mmpose-r50-256x192": _paper(50, _SMALL, sigma=2.0, colour="rgb"),
        },
        build=_build,
        recipes={"r": "simple_baseline", "mmpose": "simple_baseline"},
        published=(
            Published.row(
                "posetrack17", "val", "81.7 83.4 80.0 72.4 75.3 74.8 67.1 76.7",
                "B: Pose-Group/DCPose@8d90d88 README; the README does not say which ResNet, 152 is recalled",
            ),
            Published.row(
                "posetrack17", "test", "80.1 80.2 76.9 71.5 72.5 72.4 65.7 74.6",
                "B: Pose-Group/DCPose@8d90d88 README; mean and ResNet-152 agree with HRNet, CVPR 2019, table 5",
            ),
            Published.row(
                "posetrack18", "val", "86.5 87.7 82.5 75.8 80.1 78.8 74.2 81.2",
                "A: mmpose@759b39c resnet_posetrack18.md, ResNet-50 256x192, true boxes",
            ),
            Published.row(
                "posetrack18", "val", "86.5 87.5 82.3 75.6 79.9 78.6 74.0 81.0",
                "A: mmpose 0.x in UDP-Pose@eb12859 top_down/resnet README, ResNet-50 256x192, true boxes",
            ),
            Published.row(
                "posetrack18", "val", "78.9 81.9 77.8 70.8 75.3 73.2 66.4 75.2",
                "A: mmpose 0.x in UDP-Pose@eb12859 top_down/resnet README, ResNet-50 256x192, Cascade R-CNN boxes",
            ),
        ),
        notes=_NOTES,
    )
)  # fmt: skip
