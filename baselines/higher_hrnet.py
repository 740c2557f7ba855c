"""HigherHRNet (Cheng et al., CVPR 2020): heatmaps at two resolutions and tags that say who a joint belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from baselines.layers.higher_hrnet import HigherHRNetNetwork
from baselines.layers.hrnet import TINY
from harness.methods import CropSpec, FrameSpec, MethodCard, WholeFramePreset, register_method

__all__ = ["HigherHRNet", "card"]


class HigherHRNet(HigherHRNetNetwork):
    """HigherHRNet on the whole frame that is a clip; its parameters are named as in the official release."""

    def forward(self, clips: torch.Tensor) -> list[torch.Tensor]:
        """(B,1,3,H,W) -> heatmaps and tags (B,2J,H/4,W/4), heatmaps (B,J,H/2,W/2)."""
        return super().forward(clips[:, 0])


def _build(options: Mapping[str, Any]) -> HigherHRNet:
    """The network of a preset, whose options are HigherHRNetNetwork's own."""
    return HigherHRNet(**options)


def _paper(width: int, short_side: int, *, scales: tuple[float, ...] = (1.0,)) -> WholeFramePreset:
    return WholeFramePreset(
        crop=CropSpec(size=(-(-short_side * 16 // 9 // 64) * 64, short_side), enlarge=1.0),
        codec="associative embedding",
        options={"width": width},
        flip_test=True,
        frame=FrameSpec(short_side, scales=scales),
    )


_NOTES = """\
What the paper says. Small people need finer maps: a deconvolution doubles the resolution, both levels are trained and \
averaged, and tags of the coarse level group joints to persons.

What the released code does. Whole frames, short side 512 or 640, flip test, three scales in the best numbers; joints \
are grouped by the assignment algorithm of an old package, whose way with ties decides half of all frames, and \
persons leave with all joints, those not found being filled where tags fit best.

What we do. The network is equal to the release's; so is the grouping, ties included, many times faster. Checkpoints \
of the release and of mmpose 0.x load by --weights (mmpose 1.x has no such head). Published on COCO val with flip \
test: 67.1 (W32, 512), 68.5 (W32, 640), 69.9 (W48, 640), 72.1 (W48, 640, three scales). Nothing is published on \
PoseTrack. A checkpoint trained on COCO has the eyes where PoseTrack has head_bottom and head_top. `tiny` is ours, for \
the embedded data: HRNet-tiny's trunk, trained for 2,000 steps; its loss lets the background rise, so that a peak has \
to exceed 0.65 (0.1 upstream). Joints that were filled have low scores: a metric that punishes extra joints needs a \
threshold, `least_score` of the codec options (0 here, as upstream)."""

card = register_method(
    MethodCard(
        name="higher_hrnet",
        title="HigherHRNet",
        summary="Whole frames, no boxes: heatmaps at two resolutions, joints grouped to persons by learned tags.",
        paper=(
            "Cheng, Xiao, Wang, Shi, Huang, Zhang: HigherHRNet: Scale-Aware Representation Learning for Bottom-Up "
            "Human Pose Estimation, CVPR 2020"
        ),
        year=2020,
        licence="MIT (original release); this implementation Apache-2.0",
        presets={
            "tiny": WholeFramePreset(
                crop=CropSpec(size=(384, 192), enlarge=1.0),
                codec="associative embedding",
                # its loss lets the background rise; chosen on sequences of train
                codec_options={"least_value": 0.65},
                options=TINY,
                frame=FrameSpec(192),
                weights="higher_hrnet-tiny",
            ),
            "w32-512": _paper(32, 512),
            "w32-640": _paper(32, 640),
            "w48-640": _paper(48, 640),
            "w32-512-multi": _paper(32, 512, scales=(0.5, 1.0, 2.0)),
            "w48-640-multi": _paper(48, 640, scales=(0.5, 1.0, 2.0)),
        },
        build=_build,
        recipes={"": "higher_hrnet-tiny", "w": "higher_hrnet"},
        notes=_NOTES,
    )
)
