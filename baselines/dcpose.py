"""DCPose (Liu et al., CVPR 2021): heatmaps of three frames fused, then read where the motion between them points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from baselines.layers.deformable import DeformableConvolution
from baselines.layers.hrnet import TINY as TINY_HRNET
from baselines.layers.hrnet import HRNet
from baselines.layers.temporal_fusion import TemporalFusion, released_block_names, steps_chain
from harness.codecs import Targets
from harness.methods import CropSpec, MethodCard, Preset, Published, register_method
from harness.training.losses import StatesLoss, joint_mse, register_loss, spatial_cross_entropy
from harness.weights import KeyMap

__all__ = ["Dcpose", "DcposeStates", "card"]

_TAPS = 9


class DcposeStates(NamedTuple):
    """The outputs and what they were made of: `rough` (B,3,J,h,w), the backbone's heatmaps of the three frames."""

    heatmaps: torch.Tensor
    rough: torch.Tensor


class Dcpose(nn.Module):
    """Clips (B,3,3,H,W) of the current, previous and next frame -> heatmaps (B,joints,H/4,W/4).

    `backbone` are HRNet's options; `motion_blocks`, `support_blocks`, `context_blocks` the lengths of the three chains,
    `context` the width of the last. One deformable convolution per entry of `dilations`. `modulation` is the bias that
    the masks start from; the release has none, and starts from maps of 0.
    """

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        motion_blocks: int = 2,
        support_blocks: int = 1,
        context_blocks: int = 2,
        context: int = 64,
        dilations: tuple[int, ...] = (3, 6, 9, 12, 15),
        modulation: float | None = None,
    ) -> None:
        super().__init__()
        self.backbone = HRNet(**backbone)
        joints = self.backbone.final_layer.out_channels
        self.fusion = TemporalFusion(joints, motion_blocks=motion_blocks, support_blocks=support_blocks)
        self.context = steps_chain(3 * joints, context, context_blocks)
        self.offsets = nn.ModuleList(
            nn.Conv2d(context, joints * _TAPS * 2, 3, padding=d, dilation=d, bias=False) for d in dilations
        )
        self.masks = nn.ModuleList(
            nn.Conv2d(context, joints * _TAPS, 3, padding=d, dilation=d, bias=modulation is not None) for d in dilations
        )
        self.reads = nn.ModuleList(DeformableConvolution(joints, joints, dilation=d, identity=True) for d in dilations)
        self._reset(modulation)

    @property
    def key_sources(self) -> tuple[KeyMap, ...]:
        """The names of the release: everything of ours has its place there."""
        return (
            KeyMap(
                "DCPose release",
                (
                    ("rough_pose_estimation_net.", "backbone."),
                    *released_block_names("diff_temporal_fuse.", "fusion.motion.", len(self.fusion.motion)),
                    *released_block_names("support_temporal_fuse.", "fusion.support.", len(self.fusion.support)),
                    *released_block_names("offset_mask_combine_conv.", "context.", len(self.context)),
                    *((f"offsets_list.{n}.0.", f"offsets.{n}.") for n in range(len(self.offsets))),
                    *((f"masks_list.{n}.0.", f"masks.{n}.") for n in range(len(self.masks))),
                    *((f"modulated_deform_conv_list.{n}.deform_conv.", f"reads.{n}.") for n in range(len(self.reads))),
                ),
            ),
        )

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor | DcposeStates:
        """(B,3,3,H,W) -> heatmaps (B,joints,H/4,W/4), or all the states."""
        rough = self._rough(clips)
        heatmaps = self.fuse(*rough)
        return DcposeStates(heatmaps, rough.transpose(0, 1)) if states else heatmaps

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The heatmaps, and those of the backbone for the current frame, from one pass."""
        rough = self._rough(clips)
        return self.fuse(*rough), rough[0]

    def _rough(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,3,3,H,W) -> heatmaps (3,B,J,h,w), made frame after frame as the release stacks them."""
        return torch.unflatten(self.backbone(clips.transpose(0, 1).flatten(0, 1)), 0, (3, len(clips)))

    def fuse(
        self,
        current: torch.Tensor,
        previous: torch.Tensor,
        following: torch.Tensor,
        *,
        margin: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Three rough heatmaps (B,J,h,w) and `margin` (B,2) frames to the others, 1 by default -> the final ones."""
        motion, support = self.fusion(current, previous, following, margin=margin)
        context = self.context(torch.cat((motion, support), dim=1))
        branches = zip(self.offsets, self.masks, self.reads, strict=True)
        read = [convolve(support, offset(context), mask(context)) for offset, mask, convolve in branches]
        return torch.stack(read).mean(0)

    def _reset(self, modulation: float | None) -> None:
        """Start as the release does: convolutions near 0, deformable ones as the identity."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("backbone."):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.constant_(module.bias, modulation or 0.0 if name.startswith("masks.") else 0.0)


def _build(options: Mapping[str, Any]) -> Dcpose:
    """The network of a preset, whose options are Dcpose's own."""
    return Dcpose(**options)


def _released_loss(states: DcposeStates, targets: Targets) -> torch.Tensor:
    """With a backbone that is not frozen: the squared error of the final maps and of the rough current ones."""
    return 2 * (joint_mse(states.heatmaps, targets) + joint_mse(states.rough[:, 0], targets))


def _cross_entropy(states: DcposeStates, targets: Targets) -> torch.Tensor:
    """The same sum for maps that are logits."""
    return spatial_cross_entropy(states.heatmaps, targets) + spatial_cross_entropy(states.rough[:, 0], targets)


register_loss("dcpose_released", StatesLoss(_released_loss))
register_loss("dcpose_cross_entropy", StatesLoss(_cross_entropy))

#: The current frame, the one before, the one after: the order of the release.
_SUPPORT = (0, -1, 1)

_NOTES = """\
What the paper says. Three modules fuse the heatmaps of the previous, current and next frame: a pose temporal merger \
(where a joint may be), a pose residual fusion (how it moved), and a pose correction network of deformable \
convolutions with five dilations; frames that are nearer weigh more.

What the released code does. Convolutions called grouped are dense; masks have no sigmoid and no bias; the five \
results are averaged with fixed weights. DISTANCE 2 means at most one frame away, so the frames are always t-1 and \
t+1, both margins always 1 and both weights 1/2; at the ends of a video the current frame stands in. Its HRNet is \
frozen but in training mode, so that its batch statistics go on changing. Learning rates differ between the paper and \
the configurations for PoseTrack17 and PoseTrack18. No flip test, no NMS, no threshold on joints.

What is done here. The same network, equal to the release in every intermediate; the margins are [1, 1] in every clip, \
as in the release. A frozen backbone keeps its statistics. Published numbers come with the detector boxes of \
PoseWarper; how much boxes matter: HRNet-W48 alone has 77.8 on PoseTrack18 val with one detector and 84.6 with true \
boxes.

Weights. Files of the release load by --weights under their own names; the authors report 82.8 for theirs on \
PoseTrack17 val, 81.6 and 80.9 were reached by others who trained again. None was fetched or checked here, and whether \
their HRNet was plain COCO or fine-tuned is not known. The tiny preset is ours (HRNet-tiny, three dilations, masks \
that start at 1); its shipped weights were trained on the embedded data, so on real video they are low."""

card = register_method(
    MethodCard(
        name="dcpose",
        title="DCPose",
        summary="Heatmaps of three frames fused, then corrected by deformable convolutions of five dilations.",
        paper="Liu, Chen, Feng, Zhang et al.: Deep Dual Consecutive Network for Human Pose Estimation, CVPR 2021",
        year=2021,
        licence="none given with the original release; this implementation Apache-2.0",
        presets={
            "tiny": Preset(
                crop=CropSpec(size=(96, 128)),
                codec="heatmap",
                codec_options={"sigma": 1.5, "activation": "softmax"},
                support=_SUPPORT,
                options={"backbone": TINY_HRNET, "context": 32, "dilations": (1, 2, 3), "modulation": 1.0},
                weights="dcpose-tiny",
                ends="key",
            ),
            "paper": Preset(
                crop=CropSpec(size=(288, 384)),
                codec="heatmap",
                codec_options={"sigma": 3.0},
                support=_SUPPORT,
                options={"backbone": {"width": 48}},
                ends="key",
            ),
        },
        build=_build,
        recipes={"paper": "dcpose-pt17"},
        published=(
            Published.row(
                "posetrack17", "val", "88.0 88.7 84.1 78.4 83.0 81.4 74.2 82.8", "A: Pose-Group/DCPose@8d90d88 README",
            ),
            Published.row(
                "posetrack17", "test", "84.3 84.9 80.5 76.1 77.9 77.1 71.2 79.2", "A: Pose-Group/DCPose@8d90d88 README",
            ),
            Published.row(
                "posetrack18", "val", "84.0 86.6 82.7 78.0 80.4 79.3 73.8 80.9", "A: Pose-Group/DCPose@8d90d88 README",
            ),
            Published.row(
                "posetrack18", "test", "82.8 84.0 80.8 77.2 76.1 77.6 72.3 79.0", "A: Pose-Group/DCPose@8d90d88 README",
            ),
            Published.row(
                "posetrack21", "val", "83.2 84.7 82.3 78.1 80.3 79.2 73.5 80.5",
                "B: DiffusionPose, AAAI 2026, table 3; the Poseidon README agrees",
            ),
        ),
        notes=_NOTES,
    )
)  # fmt: skip
