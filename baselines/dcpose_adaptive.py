"""DCPose with an adaptive convolution in place of its five deformable ones, and corrected heatmaps fed back.

The design of a reading note without code or verified numbers; where it is ambiguous this is our reading of it (dcpose
spec 12). Run along a track, the corrected heatmap of a frame is the previous one of the next frame, and the backbone
sees every frame once instead of three times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import affine_grid, grid_sample

from baselines.layers.adaptive import AdaptiveConvolution
from baselines.layers.hrnet import TINY as TINY_HRNET
from baselines.layers.hrnet import HRNet
from baselines.layers.temporal_fusion import ResidualSteps, TemporalFusion
from harness.methods import CropSpec, MethodCard, Preset, register_method

__all__ = ["DcposeAdaptive", "card", "resample"]


class DcposeAdaptive(nn.Module):
    """Clips (B,3,3,H,W) of the current, previous and next frame -> heatmaps (B,joints,H/4,W/4).

    `backbone` are HRNet's options, `context` the width between the two last blocks; `add_support` adds the support map
    (where a joint may be) to the result, `norm_act` normalises inside the adaptive convolution. In training, the map of
    the previous frame is corrected up to `feedback` times before it is used, as it will be along a track.
    """

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        context: int = 64,
        add_support: bool = False,
        norm_act: bool = False,
        feedback: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = HRNet(**backbone)
        joints = self.backbone.final_layer.out_channels
        self.fusion = TemporalFusion(joints)
        self.combine = nn.Sequential(
            ResidualSteps(3 * joints, context, project=True), ResidualSteps(context, joints, project=True)
        )
        self.correct = AdaptiveConvolution(joints, norm_act=norm_act)
        self.add_support = add_support
        self.feedback, self.repeats = feedback, 0

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,3,3,H,W) -> heatmaps (B,joints,H/4,W/4)."""
        current, previous, following = self._rough(clips)
        if self.training and self.feedback:
            previous = self._corrected(previous, current)
        return self.fuse(current, previous, following)

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The heatmaps, and those of the backbone for the current frame, from one pass."""
        rough = self._rough(clips)
        return self.fuse(*rough), rough[0]

    def fuse(self, current: torch.Tensor, previous: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        """Heatmaps (B,J,h,w) of three frames -> the corrected ones of the current frame."""
        motion, support = self.fusion(current, previous, following)
        corrected: torch.Tensor = self.correct(self.combine(torch.cat((motion, support), dim=1)))
        return corrected + support if self.add_support else corrected

    def begin(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,3,3,H,W) -> rough heatmaps (B,2,J,h,w) of the current and the previous frame."""
        return self._rough(clips[:, :2]).transpose(0, 1)

    def carry(self, state: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """Both maps (B,2,J,h,w) of the crop before in the present one."""
        return resample(state.flatten(1, 2), moved).view_as(state)

    def step(self, clips: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The following frame (B,1,3,H,W) and what is known of the current and the previous one (B,2,J,h,w).

        Gives the corrected heatmaps of the current frame; with the rough ones of the following, whose previous they
        are, they are the next state.
        """
        following = self.backbone(clips[:, 0])
        corrected = self.fuse(state[:, 0], state[:, 1], following)
        return corrected, torch.stack((following, corrected), dim=1)

    def begin_step(self) -> None:
        """Draw how often a training step corrects the previous frame's map; the same in all processes."""
        self.repeats = int(torch.randint(self.feedback + 1, ()))

    def _corrected(self, previous: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        """The previous frame's map, corrected with itself as its past as often as the step says; without gradient."""
        rough = previous
        with torch.no_grad():
            for _ in range(self.repeats):
                previous = self.fuse(rough, previous, current)
        return previous

    def _rough(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,T,3,H,W) -> heatmaps of the backbone (T,B,J,h,w)."""
        frames = clips.transpose(0, 1)
        return torch.unflatten(self.backbone(frames.flatten(0, 1)), 0, frames.shape[:2])


def resample(maps: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """Maps (B,J,h,w) of one crop in the grid of another: `moved` (B,2,3) maps cells there to cells here.

    Bilinear; beyond the old crop the maps go on with their own minimum, which is about 0 for Gaussian maps and stays
    improbable for logits.

    >>> one = torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]])
    >>> resample(one, torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])).tolist()
    [[[[1.0, 2.0, 3.0, 0.0]]]]
    """
    size = maps.new_tensor([maps.shape[-1], maps.shape[-2]])
    linear, shift = moved.to(maps)[..., :2], moved.to(maps)[..., 2]
    # cells are (n + 1) * size / 2 - 1/2 in the units of grid_sample
    scaled = linear * size / size[:, None]
    middle = (linear @ (size / 2 - 0.5) + shift + 0.5) * 2 / size - 1
    grid = affine_grid(torch.cat((scaled, middle[..., None]), dim=-1), list(maps.shape), align_corners=False)
    lowest = maps.amin(dim=(-2, -1), keepdim=True)
    return grid_sample(maps - lowest, grid, align_corners=False) + lowest


def _build(options: Mapping[str, Any]) -> DcposeAdaptive:
    """The network of a preset, whose options are DcposeAdaptive's own."""
    return DcposeAdaptive(**options)


_NOTES = """\
An individual's experiment: a note without code, weights or verified numbers. It claims about one point when the \
correction was attached to CenterNet, and says that it is hard to train. There is no reference value to be equal to.

Our reading of it: PTM and PRF as in DCPose, one block to the context and one to the joints, then the adaptive \
convolution in place of all offsets, masks and deformable convolutions; its input is added to its output. The adaptive \
convolution is equal to its written definition. It starts with its taps in place: from small random weights all nine \
would fall on the centre, a plausible reason why it was hard to train.

`tiny` and `paper` look at three frames anew for every pose. The recurrent mode of the note is run by the harness too: \
`tiny-recurrent` and `paper-recurrent` go along each track frame after frame. The corrected \
heatmap of one frame is the previous one of the next, resampled where the box has moved, and the backbone sees each \
frame once, where it is the following one. Whoever has no past (a track that begins, a gap in the labels, a box \
without track id) is looked at in all three frames, as in the plain mode; so detector boxes need `--track iou`. \
The note does not say how it was trained. Weights of the plain mode lose most of their AP when their own corrections \
are fed back, so these presets train on them: a previous map is corrected, without gradient, zero to three times \
before use.

Targets are unbiased elliptical Gaussians read by DARK, as the note has them. Weights: none exist of the note; \
those shipped for `tiny` were trained on the embedded data."""

_CODEC = {"geometry": "plain", "elliptical": True}

_SUPPORT, _FOLLOWING = (0, -1, 1), (1,)

_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="dark",
    codec_options={"sigma": 1.5, "activation": "softmax", **_CODEC},
    support=_SUPPORT,
    options={"backbone": TINY_HRNET, "context": 32},
    ends="key",
)
_paper = Preset(
    crop=CropSpec(size=(288, 384)),
    codec="dark",
    codec_options={"sigma": 3.0, **_CODEC},
    support=_SUPPORT,
    options={"backbone": {"width": 48}},
    ends="key",
)


def _recurrent(preset: Preset) -> Preset:
    """The same network along a track, trained on maps that were corrected before."""
    return replace(preset, recurrent=_FOLLOWING, options={**preset.options, "feedback": 3})


card = register_method(
    MethodCard(
        name="dcpose_adaptive",
        title="DCPose with adaptive convolution",
        summary="DCPose's fusion followed by one adaptive convolution instead of five deformable ones.",
        paper="an unpublished reading note, after Liu et al., CVPR 2021, and Geng et al. (DEKR), CVPR 2021",
        licence="no code was published; this implementation Apache-2.0",
        presets={
            "tiny": replace(_tiny, weights="dcpose_adaptive-tiny"),
            "tiny-recurrent": replace(_recurrent(_tiny), weights="dcpose_adaptive-tiny-recurrent"),
            "paper": _paper,
            "paper-recurrent": _recurrent(_paper),
        },
        build=_build,
        recipes={"paper": "dcpose-paper"},
        notes=_NOTES,
    )
)
