"""ViTPose (Xu et al., NeurIPS 2022): a plain vision transformer and a light decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from baselines.layers.vit_depth import vit_layer
from baselines.layers.vitpose import BASE, LARGE, TINY, VitposeNetwork
from harness.methods import CropSpec, MethodCard, Preset, register_method

__all__ = ["Vitpose", "card"]


class Vitpose(VitposeNetwork):
    """ViTPose on the only frame of a clip; its parameters are named as in the official release."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,1,3,16h,16w) -> heatmaps (B,J,4h,4w)."""
        return super().forward(clips[:, 0])


def _build(options: Mapping[str, Any]) -> Vitpose:
    """The network of a preset, whose options are VitposeNetwork's own."""
    return Vitpose(**options)


_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="heatmap",
    codec_options={"sigma": 1.5, "activation": "softmax"},
    options=TINY,
    weights="vitpose-tiny",
)


def _small(options: Mapping[str, Any], **more: Any) -> Preset:
    return Preset(
        crop=CropSpec(size=(192, 256)), codec="udp", codec_options={"sigma": 2.0, "kernel": 11},
        options={"grid": (16, 12), **options, **more},
    )  # fmt: skip


def _large(options: Mapping[str, Any]) -> Preset:
    return Preset(
        crop=CropSpec(size=(288, 384)), codec="udp", codec_options={"sigma": 3.0, "kernel": 17},
        options={"grid": (24, 18), **options},
    )  # fmt: skip


def _plain(preset: Preset) -> Preset:
    """The same network read as the dual-stream network is: plain crop, classic heatmaps."""
    return replace(preset, codec="heatmap", codec_options={"sigma": preset.codec_options["sigma"]})


_NOTES = """\
What the paper says. An encoder without any pose-specific part, pretrained by masked image modelling, and a light \
decoder are enough.

What the released code does. Patches are cut by a 16x16 convolution with a padding of 2; there is no class token, \
but the position of one is kept and added to all tokens. Targets and crops are UDP's. On COCO val, with detected \
boxes, the release reports 75.8 AP (B) and 78.3 (L) at 256x192, 75.5 and 78.2 with the simple decoder.

What we do. The network is equal to the release's within 1e-4 of the heatmaps' spread. Checkpoints of ViTPose \
(ViTPose+ too: its first data set, COCO), mmpose and Hugging Face load by --weights, and `harness weights convert` \
writes each of them; mmpose's names are from memory but for a few. Positions stored for another crop size are \
resized (bicubic); MAE's encoder is something to start a training from (--start), its final norm left out as in the \
release. A checkpoint trained on COCO has the eyes where PoseTrack has head_bottom and head_top. The presets \
`plain-*` read the same network by the plain crop and classic heatmaps: the single-frame control of `dual_stream`. \
`tiny` is ours, for the embedded data: a convolutional stem and 96 channels; `tiny-backbone` is what it was before \
it was trained on, as a control of what is built on the backbone.

Nothing about ViTPose on PoseTrack is known at first hand; only re-runs quoted by others, which are not listed. The \
recipes vitpose and vitpose-l train as the release does, with its drop path and its layer decay of the learning \
rate."""

card = register_method(
    MethodCard(
        name="vitpose",
        title="ViTPose",
        summary="One frame, a plain vision transformer and a light decoder, heatmaps; dual_stream's control.",
        paper=(
            "Xu, Zhang, Zhang, Tao: ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation, "
            "NeurIPS 2022"
        ),
        year=2022,
        licence=(
            "Apache-2.0 (original release; MAE weights, which it starts from, are CC-BY-NC 4.0 as far as we recall); "
            "this implementation Apache-2.0"
        ),
        presets={
            "tiny": _tiny,
            "tiny-backbone": replace(_tiny, weights="vitpose-tiny-backbone"),
            "b-256x192": _small(BASE),
            "b-384x288": _large(BASE),
            "l-256x192": _small(LARGE),
            "l-384x288": _large(LARGE),
            "b-simple-256x192": _small(BASE, decoder="simple"),
            "l-simple-256x192": _small(LARGE, decoder="simple"),
            "plain-b-256x192": _plain(_small(BASE)),
            "plain-l-256x192": _plain(_small(LARGE)),
        },
        build=_build,
        recipes={"b": "vitpose", "plain-b": "vitpose", "l": "vitpose-l", "plain-l": "vitpose-l"},
        layer_of=vit_layer,
        notes=_NOTES,
    )
)
