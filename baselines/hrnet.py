"""HRNet (Sun et al., CVPR 2019): the single-frame network that the video methods build on and are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from baselines.layers.hrnet import TINY, HRNetPose
from harness.methods import CropSpec, MethodCard, Preset, Published, register_method

__all__ = ["card"]


def _build(options: Mapping[str, Any]) -> HRNetPose:
    """The network of a preset, whose options are HRNet's own."""
    return HRNetPose(**options)


_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="heatmap",
    codec_options={"sigma": 1.5, "activation": "softmax"},
    options=TINY,
    weights="hrnet-tiny",
)


def _paper(width: int, size: tuple[int, int], *, sigma: float) -> Preset:
    return Preset(crop=CropSpec(size=size), codec="heatmap", codec_options={"sigma": sigma}, options={"width": width})


_TRUTH, _DETECTED = "true boxes, flip test", "Cascade R-CNN boxes, flip test"


def _mmpose(percents: str, net: str, boxes: str) -> Published:
    return Published.row("posetrack18", "val", percents, f"A: mmpose@759b39c hrnet_posetrack18.md, {net}, {boxes}")


_NOTES = """\
What the paper says. Keep a high-resolution branch from start to end and exchange with coarser ones again and again, \
rather than recover resolution at the end.

What others did with it. DARK and UDP's Gaussian targets are the same network read in another way: --codec dark or \
udp. UDP's combined targets have three maps a joint, a disc and two offsets, and presets of their own, \
*-udp-offset-*; UDP-Pose writes mmpose 0.x's names. On COCO val, with UDP's own boxes, Gaussian targets made 76.8 AP \
of 75.6 (W32 256x192).

What we do. The network is the release's, equal to it within 1e-4 of the heatmaps' spread. Evaluated without flip \
test, as DCPose and FAMI-Pose are. Every number below is of a large network on real video. The tiny presets are ours \
and made for the embedded data; on real video they are low. `tiny-backbone` is `tiny` with the weights that video \
methods start from.

Weights. Official and mmpose checkpoints load by --weights, none was fetched here; a checkpoint trained on COCO has \
the eyes where PoseTrack has head_bottom and head_top. Only those of `tiny`, `tiny-backbone` and `tiny-dsnt` \
are shipped."""

card = register_method(
    MethodCard(
        name="hrnet",
        title="HRNet",
        summary="One frame, high-resolution branches throughout, heatmaps: the baseline of every table.",
        paper="Sun, Xiao, Liu, Wang: Deep High-Resolution Representation Learning for Human Pose Estimation, CVPR 2019",
        year=2019,
        licence="MIT (original release); this implementation Apache-2.0",
        presets={
            "tiny": _tiny,
            "tiny-backbone": replace(_tiny, weights="hrnet-tiny-backbone"),
            "w32-256x192": _paper(32, (192, 256), sigma=2.0),
            "w32-384x288": _paper(32, (288, 384), sigma=3.0),
            "w48-256x192": _paper(48, (192, 256), sigma=2.0),
            "w48-384x288": _paper(48, (288, 384), sigma=3.0),
            "tiny-udp-offset": Preset(
                crop=CropSpec(size=(96, 128)), codec="udp_offset", codec_options={"radius": 0.1, "kernel": 3},
                options={**TINY, "joints": 3 * 17},
            ),
            "tiny-dsnt": replace(_tiny, codec="dsnt", codec_options={"sigma": 1.0}, weights="hrnet-tiny-dsnt"),
            "w32-dsnt-256x192": replace(_paper(32, (192, 256), sigma=1.0), codec="dsnt"),
            "w32-udp-offset-256x192": Preset(
                crop=CropSpec(size=(192, 256)), codec="udp_offset", options={"width": 32, "joints": 3 * 17},
            ),
        },
        build=_build,
        recipes={
            "w": "hrnet", "w32-udp-offset": "hrnet-udp-offset", "tiny-udp-offset": "hrnet-udp-offset-tiny",
            "w32-dsnt": "hrnet-dsnt", "tiny-dsnt": "hrnet-dsnt-tiny",
        },
        published=(
            Published.row(
                "posetrack17", "val", "82.1 83.6 80.4 73.3 75.5 75.3 68.5 77.3",
                "B: Pose-Group/DCPose@8d90d88 README, W48; DiffusionPose (AAAI 2026) agrees",
            ),
            Published.row(
                "posetrack17", "test", "80.0 80.2 76.9 72.0 73.4 72.5 67.0 74.9",
                "B: Pose-Group/DCPose@8d90d88 README, W48; the mean agrees with HRNet, CVPR 2019, table 5",
            ),
            _mmpose("86.2 89.0 84.5 79.2 82.3 82.5 78.7 83.4", "W32 256x192", _TRUTH),
            _mmpose("78.0 82.9 79.5 73.8 76.9 76.6 70.2 76.9", "W32 256x192", _DETECTED),
            _mmpose("87.1 89.0 85.1 80.2 80.6 82.8 79.6 83.7", "W32 384x288", _TRUTH),
            _mmpose("79.9 83.6 80.4 74.5 74.8 76.1 70.5 77.3", "W32 384x288", _DETECTED),
            _mmpose("88.3 90.2 86.0 81.0 80.7 83.3 80.6 84.6", "W48 256x192", _TRUTH),
            _mmpose("80.1 83.4 80.6 74.8 74.3 76.8 70.5 77.4", "W48 256x192", _DETECTED),
            _mmpose("87.8 90.0 86.2 81.3 81.0 83.4 80.9 84.6", "W48 384x288", _TRUTH),
            _mmpose("80.2 83.8 80.9 75.2 74.7 76.7 71.7 77.8", "W48 384x288", _DETECTED),
        ),
        notes=_NOTES,
    )
)  # fmt: skip
