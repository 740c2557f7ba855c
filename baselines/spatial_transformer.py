"""RMPE's symmetric spatial transformer (Fang et al., ICCV 2017) in front of a network of heatmaps, here HRNet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from baselines.layers.hrnet import TINY, HRNetPose
from baselines.layers.recentring import Localisation, centred, inverse, on_cells, resampled
from harness.codecs import Targets
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.training.losses import StatesLoss, joint_mse, register_loss, spatial_cross_entropy

__all__ = ["Recentred", "RecentredStates", "card"]


class RecentredStates(NamedTuple):
    """The maps mapped back, and those of the straightened crop by the same network, from which it learns nothing."""

    heatmaps: torch.Tensor
    straight: torch.Tensor


class Recentred(nn.Module):
    """Any network of heatmaps, clips (B,T,3,H,W) -> (B,J,H/stride,W/stride), between a spatial transformer and back.

    One transformer, read off frame `key`, serves all frames of a clip.
    """

    def __init__(self, inner: nn.Module, *, key: int = 0, stride: int = 4, width: int = 16) -> None:
        super().__init__()
        self.inner = inner
        self.localisation = Localisation(width)
        self.key = key
        self.stride = stride

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor | RecentredStates:
        """(B,T,3,H,W) -> heatmaps (B,J,h,w) of the crop as it was; with `states` what a training reads too."""
        theta = self.localisation(clips[:, self.key])
        frames = [resampled(frame, theta) for frame in clips.unbind(1)]
        straight = torch.stack(frames, dim=1)
        maps = self.inner(straight)
        grid = maps.shape[-1], maps.shape[-2]
        # maps may be logits, where zeros beyond the border would be peaks
        back = resampled(maps, on_cells(inverse(theta), grid, stride=self.stride), padding="border")
        return RecentredStates(back, self._frozen(straight)) if states else back

    def _frozen(self, straight: torch.Tensor) -> torch.Tensor:
        """The inner network's maps, whose gradients reach the transformer alone; statistics are not counted twice."""
        values = {name: value.detach() for name, value in self.inner.named_parameters()}
        values |= {name: value.clone() for name, value in self.inner.named_buffers()}
        maps: torch.Tensor = functional_call(self.inner, values, (straight,))
        return maps


def _recentred_loss(
    loss: Callable[[torch.Tensor, Targets], torch.Tensor], states: RecentredStates, targets: Targets, *,
    factor: float = 0.1,
) -> torch.Tensor:  # fmt: skip
    """The loss of the maps, and `factor` times that of the straightened crop's against the pose put in the middle."""
    middle = Targets(centred(targets.values, targets.weights), targets.weights)
    return loss(states.heatmaps, targets) + factor * loss(states.straight, middle)


def _build(options: Mapping[str, Any]) -> Recentred:
    """HRNet with `inner` options behind a transformer."""
    rest = {key: value for key, value in options.items() if key != "inner"}
    return Recentred(HRNetPose(**options["inner"]), **rest)


register_loss("recentred_cross_entropy", StatesLoss(partial(_recentred_loss, spatial_cross_entropy)), form="maps")
register_loss("recentred_mse", StatesLoss(partial(_recentred_loss, joint_mse)), form="maps")

card = register_method(
    MethodCard(
        name="spatial_transformer",
        title="SSTN + HRNet",
        summary="One frame: a small network straightens the crop of a bad box first, and maps are brought back.",
        paper="Fang, Xie, Tai, Lu: RMPE: Regional Multi-person Pose Estimation, ICCV 2017",
        year=2017,
        licence="BSD-2-Clause style (original release, in Caffe); this implementation Apache-2.0",
        presets={
            "tiny": Preset(
                crop=CropSpec(size=(96, 128)), codec="heatmap",
                codec_options={"sigma": 1.5, "activation": "softmax"}, options={"inner": TINY, "width": 8},
                weights="spatial_transformer-tiny",
            ),
            "w32-256x192": Preset(
                crop=CropSpec(size=(192, 256)), codec="heatmap", codec_options={"sigma": 2.0},
                options={"inner": {"width": 32}},
            ),
        },
        build=_build,
        recipes={"tiny": "spatial_transformer-tiny", "w": "spatial_transformer"},
        notes=(
            "The idea of the paper; nothing to be equal to is released outside Caffe, and no checkpoint is known. The "
            "transformer starts as the identity. The paper's second branch, of frozen weights, is a second pass of the "
            "same network whose gradients reach the transformer alone: the pose should then stand in the middle. Its "
            "weight (0.1) and the localisation network are ours. Asked best with bad boxes: `harness probe --probe "
            "boxes_proposal=1`. Any network of heatmaps fits behind it: `baselines.spatial_transformer.Recentred`. "
            "`tiny` is ours, for the embedded data: 1,400 steps from hrnet-tiny-backbone, half of the boxes as a "
            "detector gives them."
        ),
    )
)  # fmt: skip
