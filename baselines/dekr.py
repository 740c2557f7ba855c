"""DEKR (Geng et al., CVPR 2021): every person's centre says where the joints are, each by a network of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from baselines.layers.adaptive_offsets import DekrNetwork
from baselines.layers.dekr_names import MMPOSE_0_DEKR, MMPOSE_DEKR
from baselines.layers.hrnet import TINY
from harness.methods import CropSpec, FrameSpec, MethodCard, WholeFramePreset, register_method
from harness.weights.sources import OFFICIAL

__all__ = ["Dekr", "card"]


class Dekr(DekrNetwork):
    """DEKR on the whole frame that is a clip; its parameters are named as in the official release."""

    key_sources = (MMPOSE_DEKR, MMPOSE_0_DEKR, OFFICIAL)

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,1,3,H,W) -> heatmaps (B,J+1,H/4,W/4), centres last, and offsets (B,2J,H/4,W/4)."""
        return super().forward(clips[:, 0])


def _build(options: Mapping[str, Any]) -> Dekr:
    """The network of a preset, whose options are DekrNetwork's own."""
    return Dekr(**options)


def _paper(width: int, short_side: int, *, scales: tuple[float, ...] = (1.0,)) -> WholeFramePreset:
    return WholeFramePreset(
        crop=CropSpec(size=(-(-short_side * 16 // 9 // 64) * 64, short_side), enlarge=1.0),
        codec="centre offsets",
        options={"width": width},
        flip_test=True,
        frame=FrameSpec(short_side, scales=scales),
    )


_NOTES = """\
What the paper says. Regression from the centre is as good as grouping, if every joint is regressed by features that \
look at that joint: adaptive convolutions in a branch per joint.

What the released code does. Poses are read at the 30 highest centres, scored by the heatmaps at their joints, and \
told apart by joints that lie close. A small network then re-scores poses of the training set's kind (COCO limbs).

What we do. Network, flip and scale test, scoring and suppression are equal to the release's. Re-scoring is not here \
(its network is trained on COCO's predictions), nor is the snapping of joints to peaks, which is off in the release; \
published numbers include the former. Checkpoints of the release and of mmpose load by --weights. Published on COCO \
val with flip test and re-scoring: 68.0 (W32, 512), 71.0 (W48, 640), 70.7 and 72.3 with three scales. Nothing is \
published on PoseTrack. `tiny` is ours, for the embedded data, begun with the shared \
HRNet backbone; its weights are shipped. Of its centres those above 0.2 count, chosen on train, where 0.01 finds eight \
times as many persons for a tenth of a point."""

card = register_method(
    MethodCard(
        name="dekr",
        title="DEKR",
        summary="Whole frames, no boxes: centres of persons, and from each the way to its joints.",
        paper=(
            "Geng, Sun, Xiao, Zhang, Wang: Bottom-Up Human Pose Estimation Via Disentangled Keypoint Regression, "
            "CVPR 2021"
        ),
        year=2021,
        licence="MIT (original release); this implementation Apache-2.0",
        presets={
            "tiny": WholeFramePreset(
                weights="dekr-tiny",
                crop=CropSpec(size=(384, 192), enlarge=1.0),
                codec="centre offsets",
                codec_options={"least_centre": 0.2},
                options={**TINY, "per_joint": 8},
                frame=FrameSpec(192),
            ),
            "w32-512": _paper(32, 512),
            "w48-640": _paper(48, 640),
            "w32-512-multi": _paper(32, 512, scales=(0.5, 1.0, 2.0)),
            "w48-640-multi": _paper(48, 640, scales=(0.5, 1.0, 2.0)),
        },
        build=_build,
        recipes={"": "dekr-tiny", "w": "dekr"},
        notes=_NOTES,
    )
)
